"""`/v1/chat/completions`: conversations whole and streamed, equal to the engine's own replies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from oxillama import Engine
from oxillama.asgi import Limits, create_app
from oxillama.testing.tiny_models import TinyModel
from tests.asgi import events
from tests.asgi.chain_model import write_chain_model
from tests.asgi.replies import error_of
from tests.drafting import cheap_rows

HI = [{"role": "user", "content": "Who are you?"}]
TURNS = [
    {"role": "system", "content": "You tell stories."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hello, friend."},
    {"role": "user", "content": [{"type": "text", "text": "Tell me "}, {"type": "text", "text": "a story."}]},
]


def chat(client: TestClient, **body: Any) -> dict[str, Any]:
    reply = client.post("/v1/chat/completions", json={"messages": HI, **body})
    assert reply.status_code == 200, reply.text
    found = reply.json()
    assert isinstance(found, dict)
    return found


def stream(client: TestClient, **body: Any) -> list[dict[str, Any]]:
    reply = client.post("/v1/chat/completions", json={"messages": HI, "stream": True, **body})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    return events.complete(reply.text)


def messages_of(chunks: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """What a client puts together: per choice the role, the texts and the end."""
    found: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            message = found.setdefault(choice["index"], {"end": None})
            assert message["end"] is None, "a choice went on after its end"
            for name, text in choice["delta"].items():
                message[name] = message.get(name, "") + text
            message["end"] = choice["finish_reason"]
    return found


@pytest.mark.parametrize("messages", [HI, TURNS], ids=["one turn", "several turns"])
def test_a_reply_is_the_engine_s(client: TestClient, demo: Engine, messages: list[dict[str, Any]]) -> None:
    expected = demo.chat(messages, seed=7, max_tokens=40)
    reply = chat(client, messages=messages, seed=7, max_tokens=40, model="demo")
    assert reply["object"] == "chat.completion"
    assert reply["id"].startswith("chatcmpl-")
    assert reply["model"] == "demo"
    (choice,) = reply["choices"]
    assert choice["message"] == {"role": "assistant", "content": expected.text, "refusal": None}
    assert choice["finish_reason"] == expected.finish_reason
    assert choice["logprobs"] is None
    usage = reply["usage"]
    assert usage["prompt_tokens"] == demo.count_tokens(messages)
    assert usage["completion_tokens"] == expected.usage.completion_tokens
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert messages_of(stream(client, messages=messages, seed=7, max_tokens=40)) == {
        0: {"role": "assistant", "content": expected.text, "end": expected.finish_reason}
    }


def test_the_order_of_a_stream(client: TestClient) -> None:
    chunks = stream(client, seed=7, max_tokens=20, stream_options={"include_usage": True, "include_obfuscation": False})
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in chunks}) == 1
    assert chunks[0]["object"] == "chat.completion.chunk"
    *pieces, usage = chunks
    assert pieces[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert all("role" not in piece["choices"][0]["delta"] for piece in pieces[1:])
    assert all(piece["choices"][0]["delta"]["content"] for piece in pieces[1:-1])
    assert all(piece["choices"][0]["finish_reason"] is None for piece in pieces[:-1])
    assert pieces[-1]["choices"][0]["delta"] == {}
    assert pieces[-1]["choices"][0]["finish_reason"] in ("stop", "length")
    assert all(piece["usage"] is None for piece in pieces)
    assert usage["choices"] == []
    assert 0 < usage["timings"]["prefill"] < usage["timings"]["prefill"] + usage["timings"]["decode"] < 60
    whole = chat(client, seed=7, max_tokens=20)["usage"]
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert [usage["usage"][name] for name in counts] == [whole[name] for name in counts]
    assert all("usage" not in chunk for chunk in stream(client, max_tokens=3))


def test_cached_tokens_are_told(client: TestClient) -> None:
    messages = [{"role": "user", "content": "Tell me about the moon and the stars and the sea and the wind. " * 3}]
    counts = [chat(client, messages=messages, max_tokens=1)["usage"] for _ in range(2)]
    assert counts[1]["prompt_tokens_details"]["cached_tokens"] > 0


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n_predict"])
def test_the_length_has_many_names(client: TestClient, name: str) -> None:
    reply = chat(client, **{name: 3}, ignore_eos=True)
    assert reply["usage"]["completion_tokens"] == 3
    assert reply["choices"][0]["finish_reason"] == "length"


def test_without_a_length_it_goes_to_the_end(client: TestClient, demo: Engine) -> None:
    assert chat(client, ignore_eos=True)["usage"]["total_tokens"] == demo.n_ctx


def test_several_choices(client: TestClient, demo: Engine) -> None:
    expected = demo.chat(HI, seed=3, n=3, max_tokens=15)
    reply = chat(client, seed=3, n=3, max_tokens=15)
    texts = [choice.message.content for choice in expected.choices]
    assert [choice["message"]["content"] for choice in reply["choices"]] == texts
    chunks = messages_of(stream(client, seed=3, n=3, max_tokens=15))
    assert [chunks[index]["content"] for index in range(3)] == texts
    best = demo.chat(HI, seed=3, n=1, best_of=3, max_tokens=15).text
    assert chat(client, seed=3, best_of=3, max_tokens=15)["choices"][0]["message"]["content"] == best


def test_logprobs(client: TestClient) -> None:
    (choice,) = chat(client, logprobs=True, top_logprobs=2, max_tokens=6, temperature=0)["choices"]
    content = choice["logprobs"]["content"]
    assert b"".join(bytes(entry["bytes"]) for entry in content).decode() == choice["message"]["content"]
    for entry in content:
        assert entry["logprob"] <= 0
        assert len(entry["top_logprobs"]) == 2
        assert entry["top_logprobs"][0]["token"] == entry["token"]
    streamed = stream(client, logprobs=True, top_logprobs=2, max_tokens=6, temperature=0)
    pieces = [piece["choices"][0]["logprobs"] for piece in streamed]
    assert [entry for piece in pieces if piece for entry in piece["content"]] == content
    (bare,) = chat(client, logprobs=True, max_tokens=1)["choices"]
    assert bare["logprobs"]["content"][0]["top_logprobs"] == []


def test_an_assistant_s_last_message_is_continued(client: TestClient, demo: Engine) -> None:
    messages = [*HI, {"role": "assistant", "content": "I am a"}]
    expected = demo.chat(messages, temperature=0, max_tokens=8).text
    assert chat(client, messages=messages, temperature=0, max_tokens=8)["choices"][0]["message"]["content"] == expected
    anew = demo.chat(messages, temperature=0, max_tokens=8, continue_final_message=False).text
    body = {"messages": messages, "temperature": 0, "max_tokens": 8, "continue_final_message": False}
    assert chat(client, **body)["choices"][0]["message"]["content"] == anew
    assert demo.count_tokens(messages) != demo.count_tokens(messages, continue_final_message=False)


def test_a_stop_text_is_left_out(client: TestClient, demo: Engine) -> None:
    whole = demo.chat(HI, temperature=0, max_tokens=30).text
    stop = whole[5:9]
    reply = chat(client, temperature=0, max_tokens=30, stop=[stop])["choices"][0]
    assert reply["message"]["content"] == whole[: whole.index(stop)]
    assert (reply["finish_reason"], reply["stop_reason"]) == ("stop", stop)
    streamed = messages_of(stream(client, temperature=0, max_tokens=30, stop=[stop]))[0]
    assert streamed["content"] == whole[: whole.index(stop)]


THINKING = ["<think>", "I", " see", "</think>", "Hel", "lo"]
TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{{ greeting }}{{ reasoning_effort }}{{ enable_thinking }}<|assistant|>"
    "{# <think></think> #}"
)


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    path = tmp_path_factory.mktemp("models") / "thinker.gguf"
    write_chain_model(path, THINKING, template=TEMPLATE)
    with Engine(path, n_threads=1, progress=False) as engine:
        yield TestClient(create_app(engine))


class TestThinking:
    def test_it_is_split_from_the_content(self, thinker: TestClient) -> None:
        reply = chat(thinker)
        message = reply["choices"][0]["message"]
        assert (message["reasoning_content"], message["content"]) == ("I see", "Hello")
        assert reply["usage"]["completion_tokens_details"]["reasoning_tokens"] == 4
        streamed = messages_of(stream(thinker))[0]
        assert (streamed["reasoning_content"], streamed["content"], streamed["end"]) == ("I see", "Hello", "stop")

    def test_it_may_be_left_where_it_is(self, thinker: TestClient) -> None:
        text = "<think>I see</think>Hello"
        assert chat(thinker, reasoning_format="none")["choices"][0]["message"]["content"] == text
        assert messages_of(stream(thinker, reasoning_format="none"))[0]["content"] == text

    def test_the_stream_tells_the_same_usage(self, thinker: TestClient) -> None:
        last = stream(thinker, stream_options={"include_usage": True})[-1]
        assert last["usage"]["completion_tokens_details"]["reasoning_tokens"] == 4

    @pytest.mark.parametrize(
        "name",
        ["thinking_budget", "thinking_budget_tokens", "reasoning_budget", "thinking_token_budget"],
    )
    @pytest.mark.parametrize(("budget", "thought", "n"), [(0, None, 2), (1, "I", 3), (2, "I see", 4), (-1, "I see", 4)])
    def test_it_is_closed_after_so_many_tokens(
        self, thinker: TestClient, name: str, budget: int, thought: str | None, n: int
    ) -> None:
        reply = chat(thinker, **{name: budget})
        message = reply["choices"][0]["message"]
        assert (message.get("reasoning_content"), message["content"]) == (thought, "Hello")
        assert reply["usage"]["completion_tokens_details"]["reasoning_tokens"] == n
        streamed = messages_of(stream(thinker, **{name: budget}))[0]
        assert (streamed.get("reasoning_content"), streamed["content"]) == (thought, "Hello")
        answer = thinker.post("/v1/responses", json={"input": "hi", name: budget}).json()
        assert [item["type"] for item in answer["output"]] == (["reasoning"] if thought else []) + ["message"]
        assert answer["usage"]["output_tokens_details"]["reasoning_tokens"] == n

    def test_budgets_that_differ_or_are_none_are_refused(self, thinker: TestClient) -> None:
        for body, param in (
            ({"thinking_budget": 1, "reasoning_budget": 2}, "reasoning_budget"),
            ({"reasoning_budget": -2}, "reasoning_budget"),
            ({"thinking_token_budget": "no"}, "thinking_token_budget"),
        ):
            reply = thinker.post("/v1/chat/completions", json={"messages": HI, **body})
            assert error_of(reply, 400)["param"] == param

    def test_stop_texts_begin_behind_it(self, thinker: TestClient) -> None:
        assert chat(thinker, stop=["see", "think"])["choices"][0]["message"]["content"] == "Hello"
        assert chat(thinker, stop=["I", "l"])["choices"][0]["message"]["content"] == "He"
        stopped = chat(thinker, stop=["see"], stop_in_thinking=True)["choices"][0]
        assert (stopped["message"]["reasoning_content"], stopped["message"]["content"]) == ("I", "")
        assert stopped["stop_reason"] == "see"

    @pytest.mark.parametrize(
        ("body", "added"),
        [
            ({"chat_template_kwargs": {"greeting": "abcde"}}, "abcde"),
            ({"reasoning_effort": "high"}, "high"),
            ({"reasoning_effort": "none"}, "noneFalse"),
            ({"reasoning_effort": "none", "chat_template_kwargs": {"enable_thinking": True}}, "noneTrue"),
        ],
    )
    def test_the_template_gets_variables(self, thinker: TestClient, body: dict[str, Any], added: str) -> None:
        counts = [chat(thinker, **extra)["usage"]["prompt_tokens"] for extra in ({}, body)]
        assert counts[1] - counts[0] == len(added)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [5]}, "messages[0]"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [*HI, {"role": "nobody", "content": "x"}]}, "messages[1].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
         "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": "x", "nope": 1}]}, "messages[0].nope"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logprobs": 3}, "logprobs"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "max_completion_tokens"),
        ({"n": 2, "best_of": 3, "stream": True}, "best_of"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "x", "format": "wav"}}, "audio"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages"),
        ({"chat_template_kwargs": 5}, "chat_template_kwargs"),
        ({"reasoning_format": "nope"}, "reasoning_format"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"prompt": "x"}, "prompt"),
        ({"temperature": "hot"}, "temperature"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("streamed", [False, True])
def test_what_cannot_be_done_is_named(client: TestClient, body: dict[str, Any], param: str, streamed: bool) -> None:
    if param == "stream_options":
        streamed = False
    given = {"messages": HI, "max_tokens": 2, **({"stream": True} if streamed else {}), **body}
    if "max_completion_tokens" not in body:
        given["max_tokens"] = 2
    assert error_of(client.post("/v1/chat/completions", json=given), 400)["param"] == param


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "functions": None},
        {"response_format": {"type": "text"}, "modalities": ["text"]},
        {"store": True, "metadata": {"a": "b"}, "user": "u", "service_tier": "auto", "safety_identifier": "x"},
        {"prompt_cache_key": "k", "prompt_cache_retention": "24h"},
        {"tools": None, "audio": None, "logprobs": None, "top_logprobs": None, "stream_options": None},
        {"logprobs": False, "verbosity": "medium", "tool_choice": "none"},
    ],
)
def test_what_asks_for_nothing_is_accepted(client: TestClient, body: dict[str, Any]) -> None:
    expected = chat(client, seed=1, max_tokens=4)["choices"]
    assert chat(client, seed=1, max_tokens=4, **body)["choices"] == expected


def test_too_long_a_conversation_is_told_in_numbers(client: TestClient, demo: Engine) -> None:
    messages = [{"role": "user", "content": "word " * 600}]
    error = error_of(client.post("/v1/chat/completions", json={"messages": messages}), 400)
    assert (error["code"], error["param"], error["n_ctx"]) == ("context_length_exceeded", "messages", demo.n_ctx)
    assert error["n_prompt_tokens"] == demo.count_tokens(messages)


def test_the_number_of_messages_is_limited_at_its_edge(demo: Engine) -> None:
    client = TestClient(create_app(demo, limits=Limits(max_messages=4)))
    assert chat(client, messages=TURNS, max_tokens=1)
    error = error_of(client.post("/v1/chat/completions", json={"messages": [*TURNS, *HI]}), 400)
    assert error["param"] == "messages"


def test_a_long_conversation_is_rendered_beside_the_loop(client: TestClient, demo: Engine) -> None:
    messages = [{"role": "user", "content": "x" * 20_000}]
    error = error_of(client.post("/v1/chat/completions", json={"messages": messages}), 400)
    assert error["code"] == "context_length_exceeded"


def test_a_model_without_template_says_so(tmp_path: Path) -> None:
    path = tmp_path / "bare.gguf"
    TinyModel(n_layers=1, tokenizer=True).write(path)
    with Engine(path, n_threads=1, progress=False) as engine:
        client = TestClient(create_app(engine))
        error = error_of(client.post("/v1/chat/completions", json={"messages": HI}), 400)
        assert "template" in error["message"]


def test_special_tokens_in_a_message_are_text(client: TestClient, demo: Engine) -> None:
    assert demo.tokenizer is not None
    control = demo.tokenizer.token_bytes(min(demo.tokenizer.eog_ids)).decode()
    counts = [
        chat(client, messages=[{"role": "user", "content": text}], max_tokens=1)["usage"]["prompt_tokens"]
        for text in ("ab", f"a{control}b")
    ]
    assert counts[1] - counts[0] > 2


class TestPrediction:
    """OpenAI's predicted outputs."""

    @pytest.mark.parametrize("parts", [False, True])
    def test_a_predicted_text_changes_no_reply_and_is_counted(self, client: TestClient, parts: bool) -> None:
        options = {"seed": 1, "max_tokens": 40, "temperature": 0}
        expected = chat(client, **options)
        text = expected["choices"][0]["message"]["content"]
        content = [{"type": "text", "text": text[:9]}, {"type": "text", "text": text[9:]}] if parts else text
        with cheap_rows():
            found = chat(client, **options, prediction={"type": "content", "content": content})
        assert found["choices"] == expected["choices"]
        details = found["usage"]["completion_tokens_details"]
        assert details["accepted_prediction_tokens"] > 10
        assert details["rejected_prediction_tokens"] >= 0
        assert expected["usage"]["completion_tokens_details"]["accepted_prediction_tokens"] == 0

    @pytest.mark.parametrize(
        "prediction",
        [
            "text",
            {"type": "content"},
            {"type": "other", "content": "x"},
            {"type": "content", "content": 5},
            {"type": "content", "content": [{"type": "image_url", "text": "x"}]},
            {"type": "content", "content": "x", "more": 1},
        ],
    )
    def test_what_is_no_prediction_is_named(self, client: TestClient, prediction: Any) -> None:
        body = {"messages": HI, "max_tokens": 2, "prediction": prediction}
        assert error_of(client.post("/v1/chat/completions", json=body), 400)["param"].startswith("prediction")
