"""Chat objects in OpenAI's shape, and what their repr() does not say."""

from __future__ import annotations

import json
from dataclasses import replace

from oxillama import (
    ChatChoice,
    ChatCompletion,
    ChatCompletionChunk,
    ChatDelta,
    ChatMessage,
    Engine,
    Logprobs,
    TokenLogprob,
    Usage,
)

USAGE = Usage(prompt_tokens=5, completion_tokens=3, cached_tokens=4, reasoning_tokens=2)
LOGPROBS = Logprobs(
    content=(
        TokenLogprob(
            token_id=7,
            token_bytes=b"\xc3",
            logprob=-0.5,
            top=(TokenLogprob(token_id=8, token_bytes=b"b", logprob=float("-inf")),),
        ),
    )
)
COMPLETION = ChatCompletion(
    choices=(
        ChatChoice(
            index=0,
            message=ChatMessage(content="the answer", reasoning_content="the thought"),
            token_ids=(7, 8, 9),
            finish_reason="stop",
            stop_reason="###",
            logprobs=LOGPROBS,
        ),
        ChatChoice(index=1, message=ChatMessage(content=""), token_ids=(), finish_reason="length"),
    ),
    usage=USAGE,
    seed=11,
    id="chatcmpl-1",
    model="m",
    created=12,
)


def test_the_shape_of_a_completion() -> None:
    assert COMPLETION.to_dict() == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 12,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "the answer",
                    "refusal": None,
                    "reasoning_content": "the thought",
                },
                "logprobs": {
                    "content": [
                        {
                            "token": "\ufffd",
                            "logprob": -0.5,
                            "bytes": [0xC3],
                            "top_logprobs": [{"token": "b", "logprob": None, "bytes": [98]}],
                        }
                    ],
                    "refusal": None,
                },
                "finish_reason": "stop",
                "stop_reason": "###",
            },
            {
                "index": 1,
                "message": {"role": "assistant", "content": "", "refusal": None},
                "logprobs": None,
                "finish_reason": "length",
                "stop_reason": None,
            },
        ],
        "usage": {
            "prompt_tokens": 5,
            "completion_tokens": 3,
            "total_tokens": 8,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {
                "reasoning_tokens": 2,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "seed": 11,
        "timings": {"queue": 0.0, "prefill": 0.0, "decode": 0.0, "ttft": 0.0},
    }
    json.dumps(COMPLETION.to_dict(), allow_nan=False)


def test_the_first_choice_is_at_hand() -> None:
    assert COMPLETION.message == ChatMessage(content="the answer", reasoning_content="the thought")
    assert (COMPLETION.text, COMPLETION.token_ids) == ("the answer", (7, 8, 9))
    assert (COMPLETION.finish_reason, COMPLETION.stop_reason, COMPLETION.logprobs) == ("stop", "###", LOGPROBS)


def test_the_shape_of_a_chunk() -> None:
    common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 12, "model": "m"}
    chunk = ChatCompletionChunk(
        delta=ChatDelta(content="an", reasoning_content="so"), index=1, id="chatcmpl-1", model="m", created=12
    )
    delta = {"content": "an", "reasoning_content": "so"}
    assert chunk.to_dict() == {
        **common,
        "choices": [{"index": 1, "delta": delta, "logprobs": None, "finish_reason": None}],
    }
    last = ChatCompletionChunk(finish_reason="stop", usage=USAGE, id="chatcmpl-1", model="m", created=12)
    assert last.to_dict() == {
        **common,
        "choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop", "stop_reason": None}],
        "usage": USAGE.to_dict(),
    }
    assert (chunk.text, last.text) == ("an", "")


def test_repr_shows_lengths() -> None:
    assert repr(COMPLETION.message) == "ChatMessage(content=<10 characters>, reasoning_content=<11 characters>)"
    chunk = ChatCompletionChunk(delta=ChatDelta(role="assistant", content="secret"), token_ids=(1,), usage=USAGE)
    for shown in (repr(COMPLETION), repr(chunk), repr(chunk.delta)):
        assert "characters" in shown
        assert not any(word in shown for word in ("answer", "thought", "secret"))


def test_a_notebook_shows_the_answer_as_markdown(demo: Engine) -> None:
    reply = demo.chat([{"role": "user", "content": "Hello"}], max_tokens=8)
    shown = reply._repr_markdown_()
    assert shown.startswith(reply.text)
    assert shown.endswith("tokens]*")
    fenced = replace(demo.generate("a", max_tokens=1)).choices[0]
    text = demo.generate("a", max_tokens=1)
    tricky = replace(text, choices=(replace(fenced, text="a\n````\n# no heading"),))
    assert tricky._repr_markdown_().startswith("`````text\na\n````\n# no heading\n`````\n")
