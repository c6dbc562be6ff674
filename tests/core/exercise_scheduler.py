"""Ring and scheduler at work with random requests, as a script for a sanitized build."""

from __future__ import annotations

from random import Random

from oxillama._core.testing.ring_harness import Request, RequestRing, stress
from tests.core.simulated_worker import CLOSED, EMBED, GENERATE, Worker


def exercise(seed: int) -> None:
    random = Random(seed)
    worker = Worker(
        random.randint(1, 12),
        hash_mask=random.choice([0, 2**64 - 1]),
        max_batch_size=random.randint(1, 6),
        max_batch_tokens=random.choice([1, 32, 100]),
        n_ctx=random.choice([40, 300]),
        n_snapshots=random.choice([0, 1, 4]),
        snapshot_tokens=random.choice([32, 64]),
    )
    for _ in range(150):
        if random.random() < 0.2:
            prompt = [random.randrange(2)] * random.randint(1, 150)
            kind = random.choice([GENERATE, EMBED])
            try:
                worker.add(prompt, max_output=random.randint(0, 60), kind=kind, priority=random.randrange(3))
            except ValueError:
                continue
        elif random.random() < 0.1 and worker.sent:
            worker.scheduler.cancel(random.choice(sorted(worker.sent)))
        elif random.random() < 0.1:
            worker.schedule()
        else:
            worker.step(draft=lambda request, expected: [*expected[: random.randrange(18)], random.randrange(5)])
    if seed % 3 == 0:
        worker.scheduler.finish_all(CLOSED)


for seed in range(40):
    exercise(seed)
for queue_size in (1, 7, 64):
    ring = RequestRing(queue_size)
    report = stress(ring, 2, 2_000)
    assert report["taken"] == 4_000
    ring.submit([Request(1, n_prompt=3, max_output=40)])
Request(1, n_prompt=33, max_output=31).fill()
print("done")
