"""The product's own modules between threads under ThreadSanitizer: ring, queue, output, mailbox, worker, team."""

from __future__ import annotations

import pytest

from tests.sanitizer import SUPPRESSIONS, THREADS, sanitized

pytestmark = pytest.mark.sanitizer

# Whatever two threads touch. Kernels are not built so: what they write, the team's barriers order, which are.
MODULES = [
    "constraint",
    "memory",
    "network.executor",
    "network.pooling",
    "network.program",
    "network.team",
    "network.weights",
    "output.handle",
    "output.output",
    "output.prompt_scores",
    "output.text_stream",
    "request",
    "ring",
    "scheduling.generation",
    "scheduling.kv_blocks",
    "scheduling.kv_cache",
    "scheduling.mailbox",
    "scheduling.mask_thread",
    "scheduling.plan",
    "scheduling.capacity",
    "scheduling.scheduler",
    "scheduling.sequence_states",
    "scheduling.snapshots",
    "scheduling.waiter",
    "scheduling.worker",
    "testing.constraint_harness",
    "testing.ring_harness",
]


def test_nothing_is_read_while_it_is_written() -> None:
    result = sanitized(MODULES, THREADS).run("tests/core/exercise_threads.py", "1", "2")
    if "unexpected memory mapping" in result.stdout:
        pytest.skip("this kernel's address layout is not known to the sanitizer")
    assert result.returncode == 0, result.stdout[-6000:]
    assert result.stdout.splitlines()[-3:] == ["the ring", "1 threads", "2 threads"]


def test_every_suppression_has_a_reason() -> None:
    lines = SUPPRESSIONS.read_text().splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        assert line.startswith("#") or before.startswith("# "), line
