"""Work on messages: beside the event loop where it is long, whatever makes it so."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import pytest

from oxillama.asgi.conversations import on_conversation
from oxillama.asgi.settings import Limits

SHORT = [{"role": "user", "content": "a"}]


@pytest.mark.parametrize(
    ("messages", "beside_it", "is_beside"),
    [
        (SHORT, None, False),
        (SHORT, {"a": ["b", 1, None]}, False),
        ([{"role": "user", "content": "a" * 10_000}], None, True),
        ([{"role": "user", "content": [{"type": "text", "text": ""}] * 5000}], None, True),
        (SHORT, {"a": ["b"] * 10_000}, True),
        (SHORT, [[{"type": "function", "function": {"name": "a" * 10_000}}]], True),
        (SHORT, {"a" * 10_000: 1}, True),
    ],
)
def test_long_work_is_done_in_a_thread(messages: list[dict[str, Any]], beside_it: object, is_beside: bool) -> None:
    async def where() -> int:
        return await on_conversation(messages, Limits(), threading.get_ident, beside_it=beside_it)

    assert (anyio.run(where) != threading.get_ident()) is is_beside
