"""lm-eval over an engine: the same numbers in process, over HTTP and from `engine.logprobs`, whatever runs at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("lm_eval", reason="`make test-clients` installs lm-eval")

import lm_eval
from lm_eval.api.instance import Instance
from lm_eval.models.openai_completions import LocalCompletionsAPI
from lm_eval.tasks import TaskManager

from oxillama import Engine, InvalidRequestError
from oxillama.asgi import create_app
from oxillama.demo import demo_path
from oxillama.integrations.lm_eval import OxillamaLM
from oxillama.tokenizer import Tokenizer
from tests.asgi.servers import running
from tests.integrations.evaluation_tasks import BEGINNINGS, QUESTIONS, STORY, TEXTS, tasks
from tests.integrations.shown import shows
from tests.patience import eventually, is_idle

pytestmark = pytest.mark.clients


def evaluated(model: Any) -> dict[str, Any]:
    """Everything that lm-eval says of a model: figures, and what each request gave."""
    found = lm_eval.simple_evaluate(model=model, tasks=tasks(), task_manager=no_other_tasks(), bootstrap_iters=0)
    answers = {
        name: [(sample["doc_id"], sample["resps"]) for sample in sorted(samples, key=lambda each: each["doc_id"])]
        for name, samples in found["samples"].items()
    }
    return {"results": found["results"], "answers": answers}


def no_other_tasks() -> TaskManager:
    """Reading lm-eval's own thousands would take longer than everything else."""
    return TaskManager(include_defaults=False)


def request(kind: str, *arguments: Any) -> Instance:
    return Instance(request_type=kind, doc={}, arguments=arguments, idx=0)


@pytest.fixture(scope="module")
def alone(demo: Engine) -> dict[str, Any]:
    return evaluated(OxillamaLM(demo, num_concurrent=1))


@shows("lm-eval", "sync")
def test_every_kind_of_request_is_answered(alone: dict[str, Any]) -> None:
    assert [len(answers) for answers in alone["answers"].values()] == [len(QUESTIONS), len(TEXTS), len(BEGINNINGS)]
    assert 0 <= alone["results"]["choosing"]["acc,none"] <= 1
    assert 0 < alone["results"]["reading"]["bits_per_byte,none"] < 8


def test_sixteen_at_once_give_the_same_to_the_last_bit(demo: Engine, alone: dict[str, Any]) -> None:
    assert repr(evaluated(OxillamaLM(demo, num_concurrent=16))) == repr(alone)


def test_other_threads_and_chunks_give_the_same_to_the_last_bit(alone: dict[str, Any]) -> None:
    lm = OxillamaLM(str(demo_path()), n_threads=2, max_batch_tokens=64, prefix_cache=False, progress=False)
    try:
        assert repr(evaluated(lm)) == repr(alone)
    finally:
        lm.close()
    assert lm.engine.state == "closed"


def test_over_http_the_numbers_are_the_same(demo: Engine) -> None:
    assert demo.tokenizer is not None
    with running(create_app(demo)) as server:
        remote = LocalCompletionsAPI(
            base_url=f"{server.url}/v1/completions", model=demo.name, tokenizer_backend="None", max_length=demo.n_ctx
        )
        remote.tokenizer_backend, remote.tokenizer = "huggingface", Spelling(demo.tokenizer)
        remote.tokenized_requests = True
        over_http = evaluated(remote)
    assert repr(over_http) == repr(evaluated(OxillamaLM(demo, add_bos_token=False)))


class Spelling:
    """A vocabulary as lm-eval asks one of transformers."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.bos_token_id, self.eos_token_id = tokenizer.bos_id, tokenizer.eos_id
        self.eos_token = tokenizer.declared_text("eos")

    def __call__(self, text: Any, **_: Any) -> Any:
        if isinstance(text, str):
            return SimpleNamespace(input_ids=self._tokenizer.encode(text, add_special=False))
        return SimpleNamespace(input_ids=[self._tokenizer.encode(one, add_special=False) for one in text])


def test_continuations_have_the_numbers_of_engine_logprobs(demo: Engine) -> None:
    lm = OxillamaLM(demo)
    pairs = [(STORY, f" {choice}") for question in QUESTIONS for choice in question["choices"]]  # type: ignore[attr-defined]
    found = lm.loglikelihood([request("loglikelihood", *pair) for pair in pairs], disable_tqdm=True)
    for (context, continuation), (score, is_greedy) in zip(pairs, found, strict=True):
        n_context = len(lm.tok_encode(context))
        ids = lm.tok_encode(context + continuation)
        assert score == sum(map(float, demo.logprobs(ids)[n_context:]))
        written = demo.generate(ids[:n_context], max_tokens=len(ids) - n_context, temperature=0)
        assert is_greedy == (list(written.token_ids) == ids[n_context:])


def test_what_the_model_would_write_is_greedy(demo: Engine) -> None:
    lm = OxillamaLM(demo)
    ids = lm.tok_encode(STORY)
    written = demo.generate(ids, max_tokens=12, temperature=0, ignore_eos=True)
    ((_, is_greedy),) = lm._loglikelihood_tokens([(None, ids, list(written.token_ids))], disable_tqdm=True)
    assert is_greedy
    other = [*written.token_ids[:-1], (written.token_ids[-1] + 1) % demo.n_vocab]
    ((_, is_greedy),) = lm._loglikelihood_tokens([(None, ids, other)], disable_tqdm=True)
    assert not is_greedy


def test_texts_have_the_numbers_of_engine_logprobs(demo: Engine) -> None:
    lm = OxillamaLM(demo)
    text = TEXTS[1]["text"]
    (found,) = lm.loglikelihood_rolling([request("loglikelihood_rolling", text)], disable_tqdm=True)
    ids = [lm.prefix_token_id, *lm.tok_encode(text, add_special_tokens=False)]
    assert found == sum(map(float, demo.logprobs(ids)[1:]))


def test_a_text_longer_than_the_context_is_read_in_windows_each_token_once(demo: Engine) -> None:
    lm = OxillamaLM(demo, max_length=40)
    text = TEXTS[0]["text"]
    (found,) = lm.loglikelihood_rolling([request("loglikelihood_rolling", text)], disable_tqdm=True)
    ids = [lm.prefix_token_id, *lm.tok_encode(text, add_special_tokens=False)]
    size = lm.max_length - 1
    expected, first = [], 1
    while first < len(ids):
        end = min(first + size, len(ids))
        window = ids[max(0, end - size - 1) : end]
        expected.append(sum(map(float, demo.logprobs(window)[len(window) - (end - first) :])))
        first = end
    assert len(expected) > 1
    assert found == sum(expected)


def test_answers_to_one_question_read_it_once() -> None:
    with Engine.demo(n_threads=1, progress=False) as engine:
        lm = OxillamaLM(engine)
        n_context = len(lm.tok_encode(STORY))
        pairs = [(STORY, f" {word}") for word in ("dog", "cat", "house", "sea", "bed", "friend")]
        lm.loglikelihood([request("loglikelihood", *pair) for pair in pairs], disable_tqdm=True)
        eventually(lambda: is_idle(engine))
        stats = engine.stats()
        shared = (n_context - 1) // 32 * 32
        assert shared > 0
        assert stats.cached_tokens == (len(pairs) - 1) * shared
        total = sum(len(lm.tok_encode(context + continuation)) for context, continuation in pairs)
        assert stats.prompt_tokens == total - stats.cached_tokens
        assert stats.output_tokens == 0


def test_an_empty_context_is_the_prefix_token(demo: Engine) -> None:
    lm = OxillamaLM(demo)
    ((score, _),) = lm.loglikelihood([request("loglikelihood", "", "Once upon a time")], disable_tqdm=True)
    ids = [lm.prefix_token_id, *lm.tok_encode("Once upon a time", add_special_tokens=False)]
    assert score == sum(map(float, demo.logprobs(ids)[1:]))


def test_generation_stops_where_the_task_says(demo: Engine) -> None:
    lm = OxillamaLM(demo)
    (found,) = lm.generate_until(
        [request("generate_until", "Once upon a time", {"until": ["."], "max_gen_toks": 60})], disable_tqdm=True
    )
    whole = demo.generate(lm.tok_encode("Once upon a time"), max_tokens=60, temperature=0).text
    assert found == whole.split(".")[0]
    sampling = {"until": [], "do_sample": True, "temperature": 0.8, "max_gen_toks": 10, "top_p": 0.9}
    first, again = (
        lm.generate_until([request("generate_until", "Once upon a time", sampling)], disable_tqdm=True)
        for _ in range(2)
    )
    assert first == again
    with pytest.raises(TypeError, match="num_beams"):
        lm.generate_until([request("generate_until", "a", {**sampling, "num_beams": 4})], disable_tqdm=True)


def test_thinking_is_no_part_of_the_answer(demo: Engine) -> None:
    lm = OxillamaLM(demo, think_end_token="time")
    (found,) = lm.generate_until(
        [request("generate_until", "Once upon a", {"until": ["."], "max_gen_toks": 40})], disable_tqdm=True
    )
    whole = demo.generate(lm.tok_encode("Once upon a"), max_tokens=40, temperature=0).text
    assert found == whole.split("time")[-1].lstrip().split(".")[0]


def test_conversations_are_rendered_by_the_model_s_template(demo: Engine) -> None:
    lm = OxillamaLM(demo)
    history = [{"role": "user", "content": "Hello"}]
    assert lm.apply_chat_template(history) == demo.render_chat(history)
    assert lm.tok_encode(lm.apply_chat_template(history)) == demo.tokenize_chat(history)
    assert lm.chat_template(True) == demo.chat_template
    assert lm.tokenizer_name == demo.name


def test_lm_eval_finds_it_by_name(alone: dict[str, Any]) -> None:
    found = lm_eval.simple_evaluate(
        model="oxillama",
        model_args={"pretrained": str(demo_path()), "n_threads": 1, "progress": False},
        tasks=tasks(),
        task_manager=no_other_tasks(),
        bootstrap_iters=0,
    )
    assert repr(found["results"]) == repr(alone["results"])


def test_the_command_has_the_model_in_its_list() -> None:
    command = [sys.executable, "-W", "ignore", "-m", "oxillama.integrations.lm_eval", "run", "--help"]
    done = subprocess.run(
        command, cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "--tasks" in done.stdout


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({}, "pretrained"),
        ({"pretrained": "a", "model": "b"}, "pretrained"),
        ({"device": "cuda"}, "device"),
        ({"max_length": 10**9}, "max_length"),
        ({"num_concurrent": 0}, "num_concurrent"),
        ({"n_threads": 2}, "pretrained"),
    ],
)
def test_what_cannot_be_used_is_refused(demo: Engine, options: dict[str, Any], param: str) -> None:
    given = {"pretrained": demo, **options} if options and "pretrained" not in options else options
    with pytest.raises(InvalidRequestError) as raised:
        OxillamaLM(**given)
    assert raised.value.param == param
