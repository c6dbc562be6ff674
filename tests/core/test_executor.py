"""How the team of a step behaves beside other programs; what it computes is tests/test_exactness.py's."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from oxillama import Engine


def test_a_small_model_beside_busy_programs_does_not_wait_at_barriers() -> None:
    texts = set()

    def seconds(engine: Engine) -> float:
        done = engine.generate("Once upon a time", max_tokens=100, temperature=0, ignore_eos=True)
        texts.add(done.text)
        return done.timings.decode

    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in os.sched_getaffinity(0)]
    try:
        time.sleep(0.5)  # until they are what they are for
        with Engine.demo(n_threads=1, progress=False) as one, Engine.demo(n_threads=2, progress=False) as two:
            seconds(two)
            pairs = [(seconds(two), seconds(one)) for _ in range(8)]
    finally:
        for process in busy:
            process.kill()
            process.wait()
    # With a team for every step the sums were 8 s and 0.1 s.
    assert sum(pair[0] for pair in pairs) < 6 * sum(pair[1] for pair in pairs)
    assert len(texts) == 1
