"""Chats with a running engine: whole and streamed replies agree, and end like any other request."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oxillama import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatHandle,
    ContextLengthError,
    DeadlineExceeded,
    Engine,
    Grammar,
    GrammarError,
    InvalidRequestError,
    QueueFullError,
    RequestCancelled,
    SamplingParams,
    TemplateError,
    UnsupportedModelError,
)
from oxillama.chat.messages import Message
from oxillama.chat.reasoning import ReasoningSplitter, ThinkTags
from oxillama.testing.tiny_models import FIRST_BYTE, TinyModel
from tests.patience import eventually, growing_limits, is_idle

TURN: list[Message] = [{"role": "user", "content": "Who are you?"}]
# Ends with a thinking block that it has opened, of tags that random text has now and then.
TAGS = ThinkTags("<<", ">>")
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}:{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<<{% endif %}"
)
# Parts of tags, white space, and bytes of which three make a character.
ALPHABET: dict[int | str, float] = {FIRST_BYTE + byte: 100.0 for byte in b"<>>> \na\xe2\x82\xac"}


@pytest.fixture(scope="module")
def thinker(long_model: Any) -> Iterator[Engine]:
    with Engine(long_model, n_threads=1, progress=False, chat_template=TEMPLATE) as engine:
        assert engine._conversation is not None
        engine._conversation.__dict__["think_tags"] = TAGS
        yield engine


def gathered(chunks: list[ChatCompletionChunk], index: int = 0) -> tuple[str, str]:
    deltas = [chunk.delta for chunk in chunks if chunk.index == index]
    return "".join(delta.reasoning_content or "" for delta in deltas), "".join(delta.content or "" for delta in deltas)


# Replies


def test_a_reply_is_a_completion_of_the_rendered_conversation(demo: Engine) -> None:
    reply = demo.chat(TURN, max_tokens=60, temperature=0)
    text = demo.render_chat(TURN)
    assert text == "<s><|user|>Who are you?<|end|><|assistant|>"
    prompt = demo.tokenize(text, add_special=False, parse_special=True)
    completion = demo.generate(prompt, max_tokens=60, temperature=0)
    assert isinstance(reply, ChatCompletion)
    assert (reply.text, reply.token_ids, reply.finish_reason) == (completion.text, completion.token_ids, "stop")
    assert reply.message.reasoning_content is None
    assert reply.usage.prompt_tokens == demo.count_tokens(TURN) == len(prompt)
    assert reply.id.startswith("chatcmpl-")
    # The reply may stand in the next call as it is.
    follow: list[Message] = [*TURN, reply.message, {"role": "user", "content": "Thank you!"}]
    assert demo.render_chat(follow).startswith(f"{text}{reply.text}<|end|><|user|>Thank you!")
    assert demo.chat(follow, max_tokens=60, temperature=0).finish_reason == "stop"


def test_a_stream_says_the_same(demo: Engine) -> None:
    reply = demo.chat(TURN, max_tokens=60, temperature=0, logprobs=2)
    chunks = list(demo.stream_chat(TURN, max_tokens=60, temperature=0, logprobs=2))
    assert chunks[0].delta.to_dict() == {"role": "assistant", "content": ""}
    assert [chunk.delta.role for chunk in chunks[1:]] == [None] * (len(chunks) - 1)
    assert gathered(chunks) == ("", reply.text)
    assert "".join(chunk.text for chunk in chunks) == reply.text
    assert [chunk.finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert (chunks[-1].finish_reason, chunks[-1].delta.to_dict()) == ("stop", {})
    assert [chunk.usage is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == reply.usage.completion_tokens
    assert tuple(token for chunk in chunks for token in chunk.token_ids) == reply.token_ids
    assert reply.logprobs is not None
    assert tuple(entry for chunk in chunks if chunk.logprobs for entry in chunk.logprobs.content) == (
        reply.logprobs.content
    )
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1


def test_several_choices_share_the_prompt(demo: Engine) -> None:
    messages = [{"role": "user", "content": "Tell me a story about a cat and a dog, " * 3}]
    reply = demo.chat(messages, max_tokens=20, n=3, seed=1, cache_salt="several")
    assert reply.usage.cached_tokens == 0
    again = demo.chat(messages, max_tokens=20, n=3, seed=1, cache_salt="several")
    assert again.usage.cached_tokens == reply.usage.prompt_tokens // 32 * 32 > 0
    assert [choice.message for choice in again.choices] == [choice.message for choice in reply.choices]
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in reply.choices}) > 1
    chunks = list(demo.stream_chat(messages, max_tokens=20, n=3, seed=1))
    for choice in reply.choices:
        assert gathered(chunks, choice.index)[1] == choice.message.content
    assert sum(chunk.usage is not None for chunk in chunks) == 1
    assert [chunk.delta.role for chunk in chunks].count("assistant") == 3
    best = demo.chat(messages, max_tokens=20, best_of=3, seed=1)
    assert best.choices[0].message.content in {choice.message.content for choice in reply.choices}
    with pytest.raises(InvalidRequestError) as error:
        demo.stream_chat(messages, max_tokens=20, best_of=3)
    assert error.value.param == "best_of"


def test_a_last_message_of_the_assistant_is_continued(demo: Engine) -> None:
    whole = demo.chat(TURN, max_tokens=60, temperature=0).text
    begun = [*TURN, {"role": "assistant", "content": whole[:8]}]
    assert demo.render_chat(begun).endswith(f"<|assistant|>{whole[:8]}")
    assert demo.chat(begun, max_tokens=60, temperature=0).finish_reason == "stop"
    assert demo.render_chat(begun, continue_final_message=False).endswith(f"{whole[:8]}<|end|><|assistant|>")


# Thinking


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32),
    stop=st.lists(st.text("<> a\u20ac", min_size=2, max_size=4), max_size=2),
    everywhere=st.booleans(),
)
def test_thinking_is_split_and_nothing_leaks(thinker: Engine, seed: int, stop: list[str], everywhere: bool) -> None:
    params = SamplingParams(
        seed=seed, stop=stop, stop_in_thinking=everywhere, max_tokens=80, logit_bias=ALPHABET, top_k=len(ALPHABET)
    )
    raw = thinker.chat(TURN, params, reasoning_format="none")
    assert raw.message.reasoning_content is None
    said = raw.text if everywhere else raw.text.partition(TAGS.closing)[2]
    assert not any(text in said for text in stop)
    splitter = ReasoningSplitter(TAGS, thinking=True)
    parts = [splitter.push(raw.text), splitter.finish()]
    expected = tuple("".join(texts) for texts in zip(*parts, strict=True))

    reply = thinker.chat(TURN, params)
    assert (reply.message.reasoning_content or "", reply.text) == expected
    assert (reply.token_ids, reply.finish_reason) == (raw.token_ids, raw.finish_reason)
    chunks = list(thinker.stream_chat(TURN, params))
    assert gathered(chunks) == expected
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.reasoning_tokens) == (
        reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.reasoning_tokens)  # fmt: skip
    assert (reply.usage.reasoning_tokens == reply.usage.completion_tokens) or splitter.has_thought
    # A reader that looks at any moment has a beginning of the whole: no part of a tag, a stop text or a character.
    for end in range(len(chunks)):
        reasoning, content = gathered(chunks[:end])
        assert expected[0].startswith(reasoning)
        assert expected[1].startswith(content)


def test_tokens_of_the_thinking_are_counted(thinker: Engine) -> None:
    for seed in range(50):
        reply = thinker.chat(TURN, seed=seed, max_tokens=60, logit_bias=ALPHABET, top_k=len(ALPHABET))
        if reply.text and reply.message.reasoning_content:
            break
    written = bytes(token - FIRST_BYTE for token in reply.token_ids if token >= FIRST_BYTE)
    # One byte per token; a model may open again what the prompt has opened.
    assert reply.usage.reasoning_tokens == written.index(b">>") + 2
    details = reply.usage.to_dict()["completion_tokens_details"]
    assert details["reasoning_tokens"] == reply.usage.reasoning_tokens


# The end


@pytest.fixture
def talker(open_long: Callable[..., Engine]) -> Engine:
    return open_long(chat_template="{% for m in messages %}{{ m.content }}{% endfor %}")


def test_a_handle_tells_how_far_it_is(demo: Engine) -> None:
    handle = demo.submit_chat(TURN, max_tokens=10, seed=3)
    assert isinstance(handle, ChatHandle)
    reply = handle.result(timeout=20)
    assert handle.done
    assert handle.exhausted
    assert handle.take() == []
    assert handle.seed == reply.seed == 3
    assert handle.usage.completion_tokens == reply.usage.completion_tokens
    again = demo.submit_chat(TURN, max_tokens=10, seed=3)
    assert gathered(list(again)) == ("", reply.text)
    assert again.exhausted
    assert list(again) == []
    assert again.id in repr(again)


@pytest.mark.parametrize("way", ["break", "close", "with", "del"])
def test_leaving_a_stream_cancels_the_request(talker: Engine, way: str) -> None:
    stream = talker.stream_chat(TURN, ignore_eos=True)
    next(stream)
    if way == "break":
        for _ in stream:
            break
    elif way == "close":
        stream.close()
        assert list(stream) == []
    elif way == "with":
        with stream:
            next(stream)
    del stream
    gc.collect()
    eventually(lambda: is_idle(talker))


def test_what_was_said_before_a_cancel_is_in_the_error(talker: Engine) -> None:
    stream = talker.stream_chat(TURN, ignore_eos=True, seed=1)
    seen = [next(stream) for _ in range(10)]
    stream.handle.cancel()
    with pytest.raises(RequestCancelled) as caught:
        seen.extend(stream)
    partial = caught.value.partial
    assert isinstance(partial, ChatCompletion)
    assert gathered(seen) == ("", partial.text)
    assert partial.finish_reason is None


def test_a_deadline_ends_thinking_too(thinker: Engine) -> None:
    for deadline in growing_limits():
        stream = thinker.stream_chat(TURN, deadline=deadline, logit_bias={FIRST_BYTE + 97: 100.0}, top_k=1)
        seen: list[ChatCompletionChunk] = []
        with pytest.raises(DeadlineExceeded) as caught:
            seen.extend(stream)
        assert isinstance(caught.value.partial, ChatCompletion)
        assert (caught.value.partial.message.reasoning_content or "") == gathered(seen)[0]
        if gathered(seen)[0]:
            break
    assert set(gathered(seen)[0]) == {"a"}


def test_a_full_queue_refuses(open_long: Callable[..., Engine]) -> None:
    engine = open_long(queue_size=1, max_batch_size=1, chat_template="{{ messages[0].content }}")
    running = engine.submit_chat(TURN, ignore_eos=True)
    eventually(lambda: running.usage.completion_tokens > 0)
    waiting = engine.submit_chat(TURN, ignore_eos=True)
    with pytest.raises(QueueFullError):
        engine.chat(TURN)
    with pytest.raises(QueueFullError):
        engine.stream_chat(TURN)
    assert not waiting.done


# What is refused


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": "json"}, "response_format"),
        ({"reasoning_format": "deep"}, "reasoning_format"),
        ({"continue_final_message": True}, "continue_final_message"),
        ({"continue_final_message": "yes"}, "continue_final_message"),
        ({"continue_final_message": 0}, "continue_final_message"),
        ({"tools": "search"}, "tools"),
        ({"tools": [{"name": "f"}]}, "tools[0]"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"add_generation_prompt": 1}, "add_generation_prompt"),
        ({"template_kwargs": {"tools": 1}}, "template_kwargs.tools"),
        ({"template_kwargs": ["a"]}, "template_kwargs"),
        ({"template_kwargs": {"a": object()}}, "template_kwargs"),
        ({"temperature": -1}, "temperature"),
        ({"queue_timeout": -1}, "queue_timeout"),
        ({"cache_salt": 5}, "cache_salt"),
    ],
)
def test_wrong_options_are_named(demo: Engine, options: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        demo.chat(TURN, **options)
    assert error.value.param == param


def test_text_is_a_response_format_like_none(demo: Engine) -> None:
    no_tools: list[list[object] | tuple[object, ...]] = [[], ()]
    for none in no_tools:
        assert demo.chat(TURN, max_tokens=1, response_format={"type": "text"}, tools=none).token_ids
    with pytest.raises(GrammarError):
        demo.chat(TURN, response_format={"type": "json_schema"})
    with pytest.raises(InvalidRequestError, match="both say what the reply looks like"):
        demo.chat(TURN, response_format={"type": "json_object"}, grammar=Grammar.regex("a"))


def test_unknown_options_are_no_parameters(demo: Engine) -> None:
    with pytest.raises(TypeError, match="max_token"):
        demo.chat(TURN, max_token=5)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="exclude each other"):
        demo.chat(TURN, SamplingParams(), max_tokens=5)


def test_a_conversation_that_is_too_long_is_refused_with_counts(demo: Engine) -> None:
    messages = [{"role": "user", "content": "word " * 5000}]
    with pytest.raises(ContextLengthError) as error:
        demo.chat(messages)
    assert error.value.param == "messages"
    assert error.value.n_prompt_tokens == demo.count_tokens(messages) > error.value.n_ctx


def test_models_that_cannot_chat_say_why(long_engine: Engine, tmp_path: Any) -> None:
    assert long_engine.chat_template is None
    with pytest.raises(TemplateError, match="no chat template"):
        long_engine.chat(TURN)
    TinyModel().write(tmp_path / "mute.gguf")
    with Engine(tmp_path / "mute.gguf", n_threads=1, progress=False) as mute, pytest.raises(UnsupportedModelError):
        mute.chat(TURN)
    with pytest.raises(InvalidRequestError, match="chat_template must be a template, a name, or a path"):
        Engine(tmp_path / "mute.gguf", chat_template=5)  # type: ignore[arg-type]


def test_a_template_may_come_from_the_caller() -> None:
    with Engine.demo(n_threads=1, progress=False, chat_template="<|user|>{{ messages[0].content }}<|end|>") as engine:
        assert engine.chat_template == "<|user|>{{ messages[0].content }}<|end|>"
        assert engine.render_chat(TURN) == "<|user|>Who are you?<|end|>"


def test_no_text_is_shown(demo: Engine) -> None:
    reply = demo.chat(TURN, max_tokens=20, temperature=0)
    chunks = list(demo.stream_chat(TURN, max_tokens=20, temperature=0))
    for shown in (repr(reply), repr(reply.message), repr(reply.choices[0]), *map(repr, chunks)):
        assert not any(word in shown for word in reply.text.split() if len(word) > 3)
