"""A conversation as the text that the model is given."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from oxillama import Engine
from oxillama.asgi import Limits, create_app
from tests.asgi.replies import error_of

MESSAGES = [{"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "A storyteller."}]


def prompt(client: TestClient, **body: Any) -> str:
    reply = client.post("/apply-template", json=body)
    assert reply.status_code == 200, reply.text
    found: dict[str, str] = reply.json()
    assert found.keys() == {"prompt"}
    return found["prompt"]


def test_it_is_the_engine_s_own_prompt(client: TestClient, demo: Engine) -> None:
    found = prompt(client, messages=MESSAGES[:1])
    assert found == demo.render_chat(MESSAGES[:1])
    assert "Who are you?" in found
    assert found.endswith("<|assistant|>")


def test_the_end_is_the_client_s_choice(client: TestClient) -> None:
    assert prompt(client, messages=MESSAGES[:1], add_generation_prompt=False).endswith("<|end|>")
    assert prompt(client, messages=MESSAGES, continue_final_message=True).endswith("A storyteller.")
    assert prompt(client, messages=MESSAGES, continue_final_message=False).endswith("<|assistant|>")


def test_a_long_conversation_is_rendered_in_a_thread(client: TestClient) -> None:
    text = "word " * 4000
    assert text.strip() in prompt(client, messages=[{"role": "user", "content": text}])


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "a"}, "messages"),
        ({"messages": ["a"]}, "messages[0]"),
        ({"messages": [{"role": "nobody", "content": "a"}]}, "messages[0].role"),
        ({"messages": [*MESSAGES, {"role": "user"}]}, "messages[2].content"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].tool_call_id"),
        ({"messages": MESSAGES, "chat_template_kwargs": {"messages": 1}}, "chat_template_kwargs.messages"),
        ({"messages": MESSAGES[:1], "continue_final_message": True}, "continue_final_message"),
        ({"messages": MESSAGES, "nope": 1}, "nope"),
    ],
)
def test_what_is_wrong_is_named(client: TestClient, body: dict[str, Any], param: str) -> None:
    assert error_of(client.post("/apply-template", json=body), 400)["param"] == param


def test_the_number_of_messages_is_limited(demo: Engine) -> None:
    client = TestClient(create_app(demo, limits=Limits(max_messages=2)))
    assert prompt(client, messages=MESSAGES)
    error = error_of(client.post("/apply-template", json={"messages": [*MESSAGES, MESSAGES[0]]}), 400)
    assert error["param"] == "messages"
