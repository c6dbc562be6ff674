"""llama-cpp-python's calls, with its defaults and shapes, give what the engine gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oxillama import InvalidRequestError
from oxillama.compat.llama_cpp import Llama, LlamaGrammar
from oxillama.demo import demo_path

PROMPT = "Once upon a time"
MESSAGES = [{"role": "user", "content": "Tell me a story."}]


@pytest.fixture(scope="module")
def llama() -> Iterator[Llama]:
    with Llama(demo_path(), n_ctx=256, n_gpu_layers=-1, n_threads=1, verbose=False) as llama:
        yield llama


def test_a_completion_has_the_shape_and_the_text(llama: Llama) -> None:
    reply: Any = llama(PROMPT, max_tokens=12, temperature=0, echo=True)
    expected = llama.engine.generate(PROMPT, max_tokens=12, temperature=0).text
    assert reply["object"] == "text_completion"
    assert reply["model"] == llama.model_path
    assert reply["choices"][0]["text"] == PROMPT + expected
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["usage"]["completion_tokens"] == 12


def test_defaults_are_those_of_the_package(llama: Llama) -> None:
    reply: Any = llama.create_completion(PROMPT, seed=3)
    expected = llama.engine.generate(PROMPT, max_tokens=16, temperature=0.8, top_p=0.95, min_p=0.05, top_k=40, seed=3)
    assert reply["choices"][0]["text"] == expected.text


def test_a_stream_adds_up(llama: Llama) -> None:
    whole: Any = llama(PROMPT, max_tokens=24, seed=5, echo=True)
    chunks = list(llama(PROMPT, max_tokens=24, seed=5, echo=True, stream=True))
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == whole["choices"][0]["text"]  # type: ignore[index]
    assert all("usage" not in chunk for chunk in chunks)


def test_a_chat_and_its_stream(llama: Llama) -> None:
    whole: Any = llama.create_chat_completion(MESSAGES, max_tokens=12, temperature=0)
    assert whole["object"] == "chat.completion"
    message = whole["choices"][0]["message"]
    assert message["role"] == "assistant"
    assert message["content"] == llama.engine.chat(MESSAGES, max_tokens=12, temperature=0).text
    stream: Any = llama.create_chat_completion(MESSAGES, max_tokens=12, temperature=0, stream=True)
    deltas = [chunk["choices"][0]["delta"] for chunk in stream]
    assert deltas[0]["role"] == "assistant"
    assert "".join(delta.get("content") or "" for delta in deltas) == message["content"]


def test_a_chat_has_a_temperature_of_its_own(llama: Llama) -> None:
    reply: Any = llama.create_chat_completion(MESSAGES, max_tokens=24, seed=11, top_k=-1)
    expected = llama.engine.chat(MESSAGES, max_tokens=24, seed=11, temperature=0.2, top_p=0.95, min_p=0.05)
    assert reply["choices"][0]["message"]["content"] == expected.text


def test_embeddings_are_a_list_and_not_normalised(llama: Llama) -> None:
    reply = llama.create_embedding(["one", "two"])
    assert [entry["index"] for entry in reply["data"]] == [0, 1]
    expected = llama.engine.embed(["one", "two"], normalize=False)
    assert [entry["embedding"] for entry in reply["data"]] == expected.tolist()
    assert reply["usage"]["prompt_tokens"] == sum(len(llama.engine.tokenize(text)) for text in ("one", "two"))
    assert llama.embed("one", normalize=True) == llama.engine.embed("one")[0].tolist()
    assert llama.embed([]) == []


def test_a_long_text_is_cut_only_where_asked(llama: Llama) -> None:
    text = "once upon a time " * 300
    assert len(llama.embed(text)) == len(llama.embed("one"))
    with pytest.raises(InvalidRequestError):
        llama.embed(text, truncate=False)


def test_tokens_are_bytes(llama: Llama) -> None:
    ids = llama.tokenize(b" cosy house", add_bos=False)
    assert llama.detokenize(ids) == b" cosy house"
    assert llama.tokenize(b"x")[0] == llama.token_bos()
    assert b"".join(llama.detokenize([one], prev_tokens=ids[:n]) for n, one in enumerate(ids)) == b" cosy house"


def test_generate_gives_ids_until_the_caller_stops(llama: Llama) -> None:
    ids = llama.tokenize(PROMPT.encode())
    first = []
    for token in llama.generate(ids, temp=0.0, reset=True):
        first.append(token)
        if len(first) == 8:
            break
    assert first == list(llama.engine.generate(ids, max_tokens=8, temperature=0).token_ids)


def test_a_seed_of_the_model_counts_up() -> None:
    with Llama(demo_path(), seed=7, n_threads=1, verbose=False) as one:
        texts: list[Any] = [one(PROMPT)["choices"][0]["text"] for _ in range(3)]  # type: ignore[index]
        assert texts == [one(PROMPT, seed=seed)["choices"][0]["text"] for seed in (7, 8, 9)]  # type: ignore[index]
        assert len(set(texts)) > 1


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"logits_processor": [len]}, "logits_processor"),
        ({"stopping_criteria": [len]}, "stopping_criteria"),
        ({"suffix": "end"}, "suffix"),
        ({"tfs_z": 0.5}, "tfs_z"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(llama: Llama, options: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidRequestError) as found:
        llama(PROMPT, **options)
    assert found.value.param == name


def test_misspelt_arguments_are_errors(llama: Llama) -> None:
    with pytest.raises(TypeError, match="temprature"):
        llama(PROMPT, temprature=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="n_gpu_layer'"):
        Llama(demo_path(), n_gpu_layer=1)


@pytest.mark.parametrize(
    "options", [{"type_k": 1}, {"type_k": 2, "type_v": 2}, {"pooling_type": 9}, {"rope_freq_base": 1.0}]
)
def test_loading_refuses_what_it_cannot_do(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        Llama(demo_path(), verbose=False, **options)


def test_an_adapter_is_applied_to_every_request(fixtures_dir: Path) -> None:
    base, adapter = fixtures_dir / "arch" / "llama.gguf", fixtures_dir / "lora" / "llama-a.gguf"
    ids = [5, 6, 7, 8]
    with Llama(base, lora_path=str(adapter), lora_scale=0.5, verbose=False) as llama:
        applied: Any = llama(ids, max_tokens=8, temperature=0)
        assert (
            applied["choices"][0]["text"]
            == llama.engine.generate(ids, max_tokens=8, temperature=0, lora=[("lora", 1.0)]).text
        )


def test_a_grammar_in_either_form(llama: Llama) -> None:
    grammar = LlamaGrammar.from_string('root ::= "yes" | "no"')
    reply: Any = llama("Is it?", grammar=grammar, max_tokens=8)
    assert reply["choices"][0]["text"] in ("yes", "no")
    reply = llama("Is it?", grammar=LlamaGrammar.from_json_schema('{"const": 7}'), max_tokens=8)
    assert reply["choices"][0]["text"] == "7"
