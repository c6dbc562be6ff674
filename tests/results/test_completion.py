"""Result objects: their form in OpenAI's API, and that their repr never shows text."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from oxillama import Completion, CompletionChoice, CompletionChunk, Logprobs, Timings, TokenLogprob, Usage

SECRET = "the secret text"


def token(text: bytes, logprob: float, *top: TokenLogprob) -> TokenLogprob:
    return TokenLogprob(token_id=1, token_bytes=text, logprob=logprob, top=top)


def choice(index: int = 0, **options: Any) -> CompletionChoice:
    return CompletionChoice(index=index, text=SECRET, token_ids=(1, 2, 3), finish_reason="stop", **options)


LOGPROBS = Logprobs(content=(token(SECRET.encode(), -0.5, token(b"the best", -0.25), token(SECRET.encode(), -0.5)),))
USAGE = Usage(prompt_tokens=5, completion_tokens=3, cached_tokens=4)
COMPLETION = Completion(
    choices=(choice(stop_reason="END", logprobs=LOGPROBS), choice(1)),
    usage=USAGE,
    seed=7,
    timings=Timings(queue=0.1, prefill=0.2, decode=0.3, ttft=0.31),
    id="cmpl-1",
    model="tiny",
    created=1_700_000_000,
)


def test_a_completion_shows_choice_0() -> None:
    assert COMPLETION.text == SECRET
    assert COMPLETION.token_ids == (1, 2, 3)
    assert COMPLETION.finish_reason == "stop"
    assert COMPLETION.stop_reason == "END"
    assert COMPLETION.logprobs is LOGPROBS
    assert len(COMPLETION.choices) == 2


def test_a_completion_in_openais_shape() -> None:
    assert COMPLETION.to_dict() == {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1_700_000_000,
        "model": "tiny",
        "choices": [
            {
                "index": 0,
                "text": SECRET,
                "finish_reason": "stop",
                "stop_reason": "END",
                "logprobs": {
                    "tokens": [SECRET],
                    "token_logprobs": [-0.5],
                    "top_logprobs": [{SECRET: -0.5, "the best": -0.25}],
                    "text_offset": [0],
                },
            },
            {"index": 1, "text": SECRET, "finish_reason": "stop", "stop_reason": None, "logprobs": None},
        ],
        "usage": {
            "prompt_tokens": 5,
            "completion_tokens": 3,
            "total_tokens": 8,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "seed": 7,
        "timings": {"queue": 0.1, "prefill": 0.2, "decode": 0.3, "ttft": 0.31},
    }
    json.dumps(COMPLETION.to_dict(), allow_nan=False)


def test_chats_form_of_a_logprob_has_bytes() -> None:
    entry = token(b"\xe2\x82", -1.0, token(b"a", -0.5))
    assert entry.to_dict() == {
        "token": "\ufffd",
        "logprob": -1.0,
        "bytes": [0xE2, 0x82],
        "top_logprobs": [{"token": "a", "logprob": -0.5, "bytes": [97]}],
    }


def test_the_first_prompt_token_has_no_logprob() -> None:
    shape = Logprobs(content=(token(b"a", math.nan), token(b"b", -1.0))).to_dict()
    assert shape["token_logprobs"] == [None, -1.0]
    assert shape["top_logprobs"] == [None, None]
    json.dumps(shape, allow_nan=False)


def test_offsets_count_characters() -> None:
    euro = "€".encode()
    content = (token("ä".encode(), 0), token(euro[:1], 0), token(euro[1:], 0), token(b"b", 0))
    assert Logprobs(content=content, text_offset=10).to_dict()["text_offset"] == [10, 11, 11, 12]


def test_a_chunk_has_usage_only_at_the_end() -> None:
    chunk = CompletionChunk(index=1, text=SECRET, token_ids=(4,), id="cmpl-1", model="tiny", created=3)
    shape = chunk.to_dict()
    assert "usage" not in shape
    assert shape["object"] == "text_completion"
    assert shape["choices"] == [
        {"index": 1, "text": SECRET, "logprobs": None, "finish_reason": None, "stop_reason": None}
    ]
    last = CompletionChunk(finish_reason="length", usage=USAGE)
    assert last.to_dict()["usage"]["completion_tokens"] == 3
    assert last.text == ""


@pytest.mark.parametrize(
    "value",
    [COMPLETION, choice(logprobs=LOGPROBS), LOGPROBS, LOGPROBS.content[0], CompletionChunk(text=SECRET, usage=USAGE)],
)
def test_repr_shows_no_text(value: object) -> None:
    assert "secret" not in repr(value)
    assert "END" not in repr(value)
    assert type(value).__name__ in repr(value)


@pytest.mark.parametrize("value", [COMPLETION, COMPLETION.choices[0], LOGPROBS, USAGE, Timings(), CompletionChunk()])
def test_results_are_frozen(value: Any) -> None:
    name = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, None)
