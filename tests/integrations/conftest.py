"""Engines for the libraries: one that tells stories, and one that makes one call of a tool whatever it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from oxillama import Engine
from tests.asgi.chain_model import write_chain_model

# Cut where a grammar leaves more than one way to go on: what must follow is cut by the grammar itself.
CALL = (
    "<tool_call>\n", '{"name": "Person", "arguments": {"name":', ' "Mia",', ' "age":', " 7}}", "\n</tool_call>",
)  # fmt: skip
MIA: dict[str, Any] = {"name": "Mia", "age": 7}
PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
PERSON_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "Person", "description": "Somebody.", "parameters": PERSON},
}
# What a model that tells stories can be held to in a few tokens.
PET: dict[str, Any] = {
    "type": "object",
    "properties": {"kind": {"enum": ["cat", "dog"]}, "legs": {"type": "integer", "minimum": 0, "maximum": 4}},
    "required": ["kind", "legs"],
    "additionalProperties": False,
}
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "You tell stories."},
    {"role": "user", "content": "Tell me one."},
]


@pytest.fixture(scope="session")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    path = tmp_path_factory.mktemp("models") / "caller.gguf"
    write_chain_model(path, CALL)
    with Engine(path, n_threads=1, progress=False) as engine:
        yield engine


@pytest.fixture(scope="session")
def told(demo: Engine) -> str:
    """What the demo model answers to MESSAGES in 12 tokens without chance."""
    return demo.chat(MESSAGES, max_tokens=12, temperature=0).text
