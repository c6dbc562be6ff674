"""Constraints in the simulated worker: drafts, preemptions and abandoned steps leave each where its output is."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.simulated_worker import N_VOCAB, NONE, STOP, Form, Worker, continuation


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 2**32), n_blocks=st.sampled_from([6, 12, 64]))
def test_whatever_happens_the_output_is_that_of_each_alone(seed: int, n_blocks: int) -> None:
    random = Random(seed)
    worker = Worker(n_blocks, max_batch_size=4)
    prompts, forms = {}, {}
    for _ in range(random.randint(1, 6)):
        prompt = [random.randrange(5) for _ in range(random.choice([1, 20, 70]))]
        form = None
        if random.random() < 0.8:
            modulus = random.choice([2, 3, 7])
            form = Form.of(modulus, random.randrange(modulus), random.choice([-1, 3, 12]))
        request = worker.add(prompt, max_output=random.choice([4, 30, 60]), form=form)
        prompts[request], forms[request] = prompt, form

    def guess(request: int, right: list[int]) -> list[int]:
        n = random.randint(0, len(right))
        return [token if random.random() < 0.8 else random.randrange(N_VOCAB + 3) for token in right[:n]]

    for _ in range(2000):
        if not worker.scheduler.num_alive:
            break
        worker.draft(guess)
        worker.schedule()
        if random.random() < 0.2:
            worker.rollback()
        else:
            worker.apply(lambda request, n_output: NONE)
    assert not worker.scheduler.num_alive
    for request, prompt in prompts.items():
        output, form = worker.scheduler.request(request)["output"], forms[request]
        expected = continuation(prompt, len(output), range(5) if form is None else form.allowed)
        assert output == expected
        if form is not None:
            assert form.sieve.misuse is None
            assert (worker.reason(request) == STOP) == (len(output) == form.length)
