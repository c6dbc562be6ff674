"""`/v1/completions`: every form of prompt, whole and streamed, equal to the engine's own results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from httpx2 import ASGITransport, AsyncClient
from starlette.testclient import TestClient

from oxillama import Engine
from oxillama.asgi import create_app
from oxillama.testing.tiny_models import BOS, FIRST_BYTE, TinyModel
from tests.asgi import events
from tests.asgi.replies import error_of
from tests.drafting import cheap_rows

PROMPT = "Once upon a time"


def complete(client: TestClient, **body: Any) -> dict[str, Any]:
    reply = client.post("/v1/completions", json=body)
    assert reply.status_code == 200, reply.text
    found = reply.json()
    assert isinstance(found, dict)
    return found


def stream(client: TestClient, **body: Any) -> list[dict[str, Any]]:
    reply = client.post("/v1/completions", json={**body, "stream": True})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.headers["cache-control"] == "no-cache"
    assert reply.headers["x-accel-buffering"] == "no"
    return events.complete(reply.text)


def test_a_completion_is_the_engine_s(client: TestClient, demo: Engine) -> None:
    reply = complete(client, model="demo", prompt=PROMPT, seed=7, max_tokens=20)
    expected = demo.generate(PROMPT, seed=7, max_tokens=20)
    assert reply["object"] == "text_completion"
    assert reply["id"].startswith("cmpl-")
    assert reply["model"] == "demo"
    (choice,) = reply["choices"]
    assert choice["text"] == expected.text
    assert choice["finish_reason"] == "length"
    assert choice["logprobs"] is None
    usage = reply["usage"]
    assert usage["prompt_tokens"] == expected.usage.prompt_tokens
    assert (usage["completion_tokens"], usage["total_tokens"]) == (20, 20 + usage["prompt_tokens"])
    assert "cached_tokens" in usage["prompt_tokens_details"]
    assert reply["timings"]["ttft"] > 0


def test_sixteen_tokens_unless_told(client: TestClient) -> None:
    assert complete(client, prompt=PROMPT, seed=1)["usage"]["completion_tokens"] == 16
    assert complete(client, prompt=PROMPT, seed=1, max_tokens=None)["usage"]["completion_tokens"] == 16
    assert complete(client, prompt=PROMPT, seed=1, n_predict=3)["usage"]["completion_tokens"] == 3
    assert complete(client, prompt=PROMPT, seed=1, max_tokens=0)["usage"]["completion_tokens"] == 0


def test_minus_one_token_is_to_the_end_of_the_context(client: TestClient, demo: Engine) -> None:
    reply = complete(client, prompt=PROMPT, seed=1, n_predict=-1, ignore_eos=True)
    assert reply["usage"]["total_tokens"] == demo.n_ctx
    assert reply["choices"][0]["finish_reason"] == "length"


def prompts_of(demo: Engine) -> dict[str, tuple[Any, list[list[int]]]]:
    one, two = demo.tokenize(PROMPT), demo.tokenize("The cat")
    return {
        "text": (PROMPT, [one]),
        "texts": ([PROMPT, "The cat"], [one, two]),
        "one text in a list": ([PROMPT], [one]),
        "ids": (one, [one]),
        "lists of ids": ([one, two], [one, two]),
        "texts and lists of ids": ([PROMPT, two], [one, two]),
    }


@pytest.mark.parametrize(
    "form", ["text", "texts", "one text in a list", "ids", "lists of ids", "texts and lists of ids"]
)
@pytest.mark.parametrize("n", [1, 2])
def test_every_form_of_prompt(client: TestClient, demo: Engine, form: str, n: int) -> None:
    prompt, expected_ids = prompts_of(demo)[form]
    expected = [
        choice.text for ids in expected_ids for choice in demo.generate(ids, seed=3, n=n, max_tokens=12).choices
    ]
    reply = complete(client, prompt=prompt, seed=3, n=n, max_tokens=12)
    assert [choice["text"] for choice in reply["choices"]] == expected
    assert [choice["index"] for choice in reply["choices"]] == list(range(len(expected)))
    assert reply["usage"]["prompt_tokens"] == sum(map(len, expected_ids))
    chunks = stream(client, prompt=prompt, seed=3, n=n, max_tokens=12)
    assert events.texts_by_choice(chunks) == dict(enumerate(expected))


def test_a_stream_has_one_head_and_ends_with_its_usage(client: TestClient) -> None:
    chunks = stream(client, prompt=PROMPT, seed=3, max_tokens=8, stream_options={"include_usage": True})
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in chunks}) == 1
    *pieces, last = chunks
    assert all(chunk["usage"] is None for chunk in pieces)
    assert [chunk["choices"][0]["finish_reason"] for chunk in pieces][-1] == "length"
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in pieces[:-1])
    assert last["choices"] == []
    whole = complete(client, prompt=PROMPT, seed=3, max_tokens=8)["usage"]
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert [last["usage"][name] for name in counts] == [whole[name] for name in counts]
    assert "usage" not in stream(client, prompt=PROMPT, max_tokens=2)[-1]


def test_best_of_keeps_the_most_likely(client: TestClient, demo: Engine) -> None:
    expected = demo.generate(PROMPT, seed=5, n=2, best_of=5, max_tokens=10)
    reply = complete(client, prompt=PROMPT, seed=5, n=2, best_of=5, max_tokens=10)
    assert [choice["text"] for choice in reply["choices"]] == [choice.text for choice in expected.choices]
    assert reply["usage"]["completion_tokens"] == 50
    # The prompt was computed once for all five.
    assert reply["usage"]["prompt_tokens"] == expected.usage.prompt_tokens


@pytest.mark.parametrize("text", ["length", "stop"])
def test_the_end_is_told(client: TestClient, demo: Engine, text: str) -> None:
    whole = demo.generate(PROMPT, temperature=0, max_tokens=30).text
    stop = whole[20:26]
    reply = complete(client, prompt=PROMPT, temperature=0, max_tokens=30, **({"stop": stop} if text == "stop" else {}))
    (choice,) = reply["choices"]
    if text == "stop":
        assert choice["text"] == whole[: whole.index(stop)]
        assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", stop)
    else:
        assert (choice["text"], choice["finish_reason"], choice["stop_reason"]) == (whole, "length", None)


class TestEcho:
    def test_the_prompt_comes_first(self, client: TestClient, demo: Engine) -> None:
        expected = demo.generate(PROMPT, seed=2, max_tokens=5).text
        for prompt in (PROMPT, demo.tokenize(PROMPT)):
            body = {"prompt": prompt, "seed": 2, "max_tokens": 5, "echo": True, "n": 2}
            reply = complete(client, **body)
            assert reply["choices"][0]["text"] == PROMPT + expected
            texts = events.texts_by_choice(stream(client, **body))
            assert [texts[0], texts[1]] == [choice["text"] for choice in reply["choices"]]

    def test_with_logprobs_the_prompt_has_them_too(self, client: TestClient, demo: Engine) -> None:
        reply = complete(client, prompt=PROMPT, echo=True, logprobs=2, max_tokens=4, temperature=0)
        (choice,) = reply["choices"]
        lists = choice["logprobs"]
        ids = demo.tokenize(PROMPT)
        assert len({len(values) for values in lists.values()}) == 1
        assert len(lists["tokens"]) == len(ids) + 4
        assert lists["token_logprobs"][0] is None
        assert lists["token_logprobs"][1 : len(ids)] == pytest.approx(demo.logprobs(ids)[1:].tolist())
        assert all(value <= 0 for value in lists["token_logprobs"][1:])
        assert lists["top_logprobs"][0] is None
        assert all(len(top) == 2 for top in lists["top_logprobs"][1:])
        # Offsets say where in the text a token is, control tokens being nowhere.
        assert demo.tokenizer is not None
        for token, offset in list(zip(lists["tokens"], lists["text_offset"], strict=True))[1:]:
            assert choice["text"][offset : offset + len(token)] == token

    def test_a_prompt_can_be_scored_without_generating(self, client: TestClient, demo: Engine) -> None:
        reply = complete(client, prompt=PROMPT, echo=True, logprobs=0, max_tokens=0)
        (choice,) = reply["choices"]
        assert choice["text"] == PROMPT
        assert len(choice["logprobs"]["tokens"]) == len(demo.tokenize(PROMPT))
        assert reply["usage"]["completion_tokens"] == 0

    @pytest.mark.parametrize("n", [1, 2])
    def test_a_stream_has_the_same_lists(self, client: TestClient, n: int) -> None:
        body = {"prompt": ["A day", PROMPT], "echo": True, "logprobs": 3, "max_tokens": 6, "seed": 1, "n": n}
        whole = complete(client, **body)["choices"]
        lists: dict[int, dict[str, list[Any]]] = {}
        for chunk in stream(client, **body):
            for choice in chunk["choices"]:
                for name, values in (choice["logprobs"] or {}).items():
                    lists.setdefault(choice["index"], {}).setdefault(name, []).extend(values)
        assert lists == {choice["index"]: choice["logprobs"] for choice in whole}


def test_logprobs_are_the_model_s_own(client: TestClient, demo: Engine) -> None:
    (choice,) = complete(client, prompt=PROMPT, logprobs=3, max_tokens=5, temperature=0)["choices"]
    lists = choice["logprobs"]
    assert "".join(lists["tokens"]) == choice["text"]
    assert lists["text_offset"][0] == 0
    for token, value, top in zip(lists["tokens"], lists["token_logprobs"], lists["top_logprobs"], strict=True):
        assert len(top) == 3
        assert max(top.values()) == top[token] == value
    assert complete(client, prompt=PROMPT, n_probs=1, max_tokens=1)["choices"][0]["logprobs"]["top_logprobs"]


def test_an_alias_of_logprobs_is_blamed_as_it_was_spelled(client: TestClient) -> None:
    for given in ({"n_probs": 50}, {"n_probs": 1, "logprobs": 2}):
        error = error_of(client.post("/v1/completions", json={"prompt": PROMPT, **given}), 400)
        assert error["param"] == "n_probs"
        assert "n_probs" in error["message"]
    assert complete(client, prompt=PROMPT, n_probs=1, logprobs=1, max_tokens=1)


@pytest.fixture(scope="module")
def fim_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    path = tmp_path_factory.mktemp("models") / "fim.gguf"
    ids = {"prefix": FIRST_BYTE + 1, "suffix": FIRST_BYTE + 2, "middle": FIRST_BYTE + 3}
    metadata = {f"tokenizer.ggml.{name}_token_id": token for name, token in ids.items()}
    TinyModel(n_layers=1, tokenizer=True, metadata=metadata).write(path)
    with Engine(path, n_threads=1, progress=False) as engine:
        yield TestClient(create_app(engine))


def byte_ids(text: str) -> list[int]:
    return [FIRST_BYTE + byte for byte in text.encode()]


class TestSuffix:
    def test_it_becomes_a_prompt_with_the_model_s_own_tokens(self, fim_client: TestClient) -> None:
        engine = fim_client.app.state.service.engine  # type: ignore[attr-defined]
        prompt = [BOS, FIRST_BYTE + 1, *engine.tokenize("def f", add_special=False), FIRST_BYTE + 2]
        prompt += [*engine.tokenize("return", add_special=False), FIRST_BYTE + 3]
        expected = engine.generate(prompt, seed=1, max_tokens=9).text
        for given in ("def f", engine.tokenize("def f", add_special=False)):
            reply = complete(fim_client, prompt=given, suffix="return", seed=1, max_tokens=9)
            assert reply["choices"][0]["text"] == expected
            assert reply["usage"]["prompt_tokens"] == len(prompt)

    def test_a_vocabulary_without_such_tokens_is_told(self, client: TestClient) -> None:
        error = error_of(client.post("/v1/completions", json={"prompt": "a", "suffix": "b"}), 400)
        assert error["param"] == "suffix"
        assert "fill-in-the-middle" in error["message"]

    def test_it_has_no_text_to_echo(self, fim_client: TestClient) -> None:
        body = {"prompt": "a", "suffix": "b", "echo": True}
        assert error_of(fim_client.post("/v1/completions", json=body), 400)["param"] == "echo"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": ["a", []]}, "prompt[1]"),
        ({"prompt": [1, "a"]}, "prompt[1]"),
        ({"prompt": [1, [2]]}, "prompt[1]"),
        ({"prompt": [1.5]}, "prompt[0]"),
        ({"prompt": {"text": "a"}}, "prompt"),
        ({"prompt": [["a"]]}, "prompt[0][0]"),
        ({"prompt": [1, -1]}, "prompt"),
        ({"prompt": ["a", [1, 1 << 31]]}, "prompt[1]"),
        ({"prompt": [1 << 80]}, "prompt"),
        ({"prompt": "a", "best_of": 2, "stream": True}, "best_of"),
        ({"prompt": "a", "best_of": 2, "n": 3}, "best_of"),
        ({"prompt": "a", "best_of": 0}, "best_of"),
        ({"prompt": "a", "logprobs": 21}, "logprobs"),
        ({"prompt": "a", "logprobs": True}, "logprobs"),
        ({"prompt": "a", "stream": "yes"}, "stream"),
        ({"prompt": "a", "stream_options": {"include_usage": True}}, "stream_options"),
        ({"prompt": "a", "stream": True, "stream_options": {"nope": 1}}, "stream_options.nope"),
        ({"prompt": "a", "max_tokens": -2}, "max_tokens"),
        ({"prompt": "a", "messages": []}, "messages"),
    ],
)
def test_what_cannot_be_done_is_named(client: TestClient, body: dict[str, Any], param: str) -> None:
    assert error_of(client.post("/v1/completions", json=body), 400)["param"] == param


@pytest.mark.parametrize("streamed", [False, True])
def test_a_prompt_that_is_too_long_is_told_in_numbers(client: TestClient, demo: Engine, streamed: bool) -> None:
    body = {"prompt": ["a", [5] * 600], "stream": streamed}
    error = error_of(client.post("/v1/completions", json=body), 400)
    assert (error["n_prompt_tokens"], error["n_ctx"], error["param"]) == (600, demo.n_ctx, "prompt[1]")
    assert error["type"] == "exceed_context_size_error"


def test_an_unknown_model_is_a_404(client: TestClient) -> None:
    error = error_of(client.post("/v1/completions", json={"model": "gpt-4o", "prompt": "a"}), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")


def test_control_tokens_in_a_prompt_are_text_unless_asked(client: TestClient, demo: Engine) -> None:
    assert demo.tokenizer is not None
    control = demo.tokenizer.token_bytes(min(demo.tokenizer.eog_ids)).decode()
    as_text = complete(client, prompt=f"a{control}b", max_tokens=1)["usage"]["prompt_tokens"]
    as_token = complete(client, prompt=f"a{control}b", max_tokens=1, parse_special=True)["usage"]["prompt_tokens"]
    without = complete(client, prompt="a", max_tokens=1, add_special_tokens=False)["usage"]["prompt_tokens"]
    assert as_token < as_text
    assert without == len(demo.tokenize("a", add_special=False))


def test_more_prompts_than_the_queue_has_places() -> None:
    with Engine.demo(n_threads=1, queue_size=2, max_batch_size=2, progress=False) as engine:
        client = TestClient(create_app(engine))
        prompts = [f"Story {number}" for number in range(12)]
        reply = complete(client, prompt=prompts, seed=1, max_tokens=4)
        expected = [engine.generate(prompt, seed=1, max_tokens=4).text for prompt in prompts]
        assert [choice["text"] for choice in reply["choices"]] == expected
        texts = events.texts_by_choice(stream(client, prompt=prompts, seed=1, max_tokens=4))
        assert texts == dict(enumerate(expected))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_runs_on_either_event_loop(demo: Engine, backend: str) -> None:
    async def factory() -> Engine:
        return demo

    async def ask() -> str:
        app = create_app(factory)
        async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
            with anyio.fail_after(30):
                while (await client.get("/readyz")).status_code != 200:
                    await anyio.sleep(0.01)
                body = {"prompt": PROMPT, "seed": 7, "max_tokens": 20, "stream": True}
                replies = [await client.post("/v1/completions", json=body) for _ in range(2)]
        return events.texts_by_choice(events.complete(replies[1].text))[0]

    assert anyio.run(ask, backend=backend) == demo.generate(PROMPT, seed=7, max_tokens=20).text


def test_a_predicted_text_changes_nothing_and_is_counted(client: TestClient) -> None:
    options = {"prompt": "One day", "seed": 1, "max_tokens": 40, "temperature": 0}
    expected = complete(client, **options)
    prediction = {"type": "content", "content": expected["choices"][0]["text"]}
    with cheap_rows():
        found = complete(client, **options, prediction=prediction)
    assert found["choices"] == expected["choices"]
    assert found["usage"]["completion_tokens_details"]["accepted_prediction_tokens"] > 10
