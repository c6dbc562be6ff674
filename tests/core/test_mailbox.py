"""The mailbox of an event loop: written at most once until the loop has looked, and nothing is lost."""

from __future__ import annotations

import os
import select

import pytest

from oxillama import Engine
from oxillama._core.scheduling.mailbox import Mailbox
from tests.patience import eventually


def is_readable(mailbox: Mailbox, seconds: float = 0) -> bool:
    return bool(select.select([mailbox], [], [], seconds)[0])


def test_news_come_once_until_they_are_looked_at(demo: Engine) -> None:
    mailbox = Mailbox()
    handle = demo.submit("Once", max_tokens=30, ignore_eos=True)
    (core,) = handle.handles
    core.attach(mailbox)
    eventually(lambda: core.finish_reason is not None)
    # Some thirty steps have ended since; the descriptor counts one.
    assert is_readable(mailbox, 20)
    assert int.from_bytes(os.read(mailbox.fileno(), 8), "little") == 1
    assert not is_readable(mailbox)
    assert core.has_update()


def test_what_comes_after_a_look_is_told_again(demo: Engine) -> None:
    mailbox = Mailbox()
    for seed in range(3):
        handle = demo.submit("Once", max_tokens=3, seed=seed, ignore_eos=True)
        (core,) = handle.handles
        core.attach(mailbox)
        finished = False
        while not finished:
            if not core.has_update():
                assert is_readable(mailbox, 20)
            mailbox.clear()
            finished = core.take()[2]


def test_a_request_has_one_mailbox(demo: Engine) -> None:
    mailbox = Mailbox()
    (core,) = demo.submit("Once", max_tokens=2).handles
    core.attach(mailbox)
    core.attach(mailbox)
    with pytest.raises(RuntimeError, match="another event loop"):
        core.attach(Mailbox())


def test_the_descriptor_lives_as_long_as_a_request_may_post(demo: Engine) -> None:
    mailbox = Mailbox()
    fd = mailbox.fileno()
    handle = demo.submit("Once", max_tokens=20, ignore_eos=True)
    handle.handles[0].attach(mailbox)
    del mailbox
    os.fstat(fd)
    handle.result()
    del handle

    def is_closed() -> bool:
        try:
            os.fstat(fd)
        except OSError:
            return True
        return False

    eventually(is_closed)
