"""What a request has produced: text that moves as it grows, and what a reader may see of it at any moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from oxillama import Engine
from oxillama._core.output.handle import Handle


def read(handle: Handle, *, asleep: bool) -> tuple[list[str], str]:
    """The tokens' texts and what came after them; asleep: waits, instead of looking again and again."""
    texts: list[str] = []
    while True:
        before = handle.num_published
        events, rest, finished = handle.take()
        texts += [event.text for event in events]
        assert len(texts) >= before, "what was seen published can be taken"
        if finished:
            return texts, rest
        if asleep:
            handle.wait(20)


@pytest.mark.parametrize("asleep", [False, True])
def test_a_text_outgrows_its_buffers_and_stays_whole(open_long: Callable[..., Engine], asleep: bool) -> None:
    engine = open_long()
    # The first buffer holds 1,024 bytes, so it moves five times.
    options: dict[str, Any] = {"max_tokens": 20_000, "seed": 1, "ignore_eos": True}
    handle = engine.submit("x", **options)
    texts, rest = read(handle.handles[0], asleep=asleep)
    assert len(texts) == 20_000
    assert "".join(texts) + rest == engine.generate("x", **options).text


def test_a_stop_string_ends_the_text_before_it_and_tokens_are_counted(demo: Engine) -> None:
    whole = demo.generate("Once upon a time", max_tokens=40, temperature=0, ignore_eos=True).text
    stop = whole[20:24]
    at = whole.index(stop)
    handle = demo.submit("Once upon a time", max_tokens=40, temperature=0, ignore_eos=True, stop=["never", stop])
    texts, rest = read(handle.handles[0], asleep=True)
    assert "".join(texts) + rest == whole[:at]
    assert (handle.handles[0].finish_reason, handle.handles[0].stop) == ("stop", 1)


def test_a_stop_string_is_not_looked_for_before_the_least_tokens(demo: Engine) -> None:
    whole = demo.generate("Once upon a time", max_tokens=40, temperature=0, ignore_eos=True)
    stop = whole.text[:3]
    text = demo.generate(
        "Once upon a time", max_tokens=40, temperature=0, ignore_eos=True, stop=[stop], min_tokens=10
    ).text
    assert text.startswith(stop)


def test_a_wait_ends_by_itself(open_long: Callable[..., Engine]) -> None:
    engine = open_long(max_batch_size=1)
    running = engine.submit("x", ignore_eos=True)
    queued = engine.submit("y", ignore_eos=True)
    queued.handles[0].wait(0.01)
    assert not queued.handles[0].has_update()
    running.cancel()
