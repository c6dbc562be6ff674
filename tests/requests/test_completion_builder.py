"""What has been delivered as chunks and as a whole: the same, however and whenever it was taken."""

from __future__ import annotations

from oxillama import Engine, SamplingParams
from oxillama.requests.completion_builder import CompletionBuilder
from tests.patience import eventually


def begin(engine: Engine, **options: object) -> CompletionBuilder:
    """Of a request that nobody waits for."""
    params = SamplingParams(max_tokens=12, seed=4, **options)  # type: ignore[arg-type]
    return CompletionBuilder(engine._admission.generation("Once upon a time", params, None))


def run(engine: Engine, builder: CompletionBuilder) -> None:
    assert engine._lifecycle.try_submit(builder.delivery.handles)
    eventually(lambda: all(handle.finish_reason for handle in builder.delivery.handles))


def test_before_it_begins_there_is_nothing(demo: Engine) -> None:
    builder = begin(demo, n=2)
    assert builder.take() == []
    assert not builder.delivery.collect()
    assert len(builder.delivery.open_handles) == 2
    found = builder.result()
    assert [(choice.text, choice.token_ids, choice.finish_reason) for choice in found.choices] == [("", (), None)] * 2


def test_chunks_add_up_to_the_completion(demo: Engine) -> None:
    builder = begin(demo, n=2, logprobs=2)
    run(demo, builder)
    chunks = builder.take()
    assert builder.exhausted
    assert builder.delivery.open_handles == []
    completion = builder.result()
    for choice in completion.choices:
        own = [chunk for chunk in chunks if chunk.index == choice.index]
        assert "".join(chunk.text for chunk in own) == choice.text
        assert tuple(token for chunk in own for token in chunk.token_ids) == choice.token_ids
        assert choice.logprobs is not None
        assert tuple(entry for chunk in own if chunk.logprobs for entry in chunk.logprobs.content) == (
            choice.logprobs.content
        )
        assert [chunk.finish_reason for chunk in own] == [None] * (len(own) - 1) + [choice.finish_reason]
    assert [chunk.usage for chunk in chunks if chunk.usage] == [completion.usage]
    assert builder.take() == []


def test_what_is_collected_makes_no_chunks_and_is_not_lost(demo: Engine) -> None:
    taken, collected = begin(demo, stop=["."]), begin(demo, stop=["."])
    for builder in (taken, collected):
        run(demo, builder)
    assert taken.take()
    assert collected.delivery.collect()
    assert collected.take() == []
    assert collected.result().choices == taken.result().choices


def test_the_best_are_kept_and_counted_anew(demo: Engine) -> None:
    builder = begin(demo, n=2, best_of=4)
    run(demo, builder)
    chunks = builder.take()
    assert {chunk.index for chunk in chunks} == {0, 1, 2, 3}
    completion = builder.result()
    assert [choice.index for choice in completion.choices] == [0, 1]
    assert completion.usage.completion_tokens == sum(len(chunk.token_ids) for chunk in chunks)


def test_portions_lose_nothing_and_leave_no_choice_out(demo: Engine) -> None:
    whole, portions = begin(demo, n=3, logprobs=1), begin(demo, n=3, logprobs=1)
    for builder in (whole, portions):
        run(demo, builder)
    chunks, firsts = [], []
    while not portions.exhausted:
        taken = portions.take(2)
        assert 0 < len(taken) <= 2
        chunks += taken
        firsts.append(taken[0].index)
    assert set(firsts[:3]) == {0, 1, 2}, "each in its turn"
    for index, choice in enumerate(whole.result().choices):
        own = [chunk for chunk in chunks if chunk.index == index]
        assert "".join(chunk.text for chunk in own) == choice.text
        assert tuple(token for chunk in own for token in chunk.token_ids) == choice.token_ids
        assert [chunk.finish_reason for chunk in own] == [None] * (len(own) - 1) + [choice.finish_reason]
    assert [chunk.usage for chunk in chunks if chunk.usage] == [whole.usage]
    assert portions.result().choices == whole.result().choices


def test_a_result_after_a_portion_is_whole(demo: Engine) -> None:
    whole, begun = begin(demo), begin(demo)
    for builder in (whole, begun):
        run(demo, builder)
    begun.take(3)
    assert begun.delivery.collect()
    assert begun.result().choices == whole.result().choices
    assert begun.take() == []


def test_arrivals_count_each_token_once(demo: Engine) -> None:
    builder = begin(demo, n=2)
    assert builder.delivery.arrivals() == []
    run(demo, builder)
    counts = dict(builder.delivery.arrivals())
    assert counts == {choice.index: len(choice.token_ids) for choice in builder.result().choices}
    assert builder.delivery.arrivals() == []
    assert builder.exhausted
