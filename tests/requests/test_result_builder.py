"""One handle for every kind of request: what a kind is, is its builder's."""

from __future__ import annotations

import math

import pytest

from oxillama import Engine, RequestCancelled, SamplingParams
from oxillama.requests.chat import ChatHandle
from oxillama.requests.completion_builder import CompletionBuilder
from oxillama.requests.delivery import Delivery
from oxillama.requests.request import RequestHandle
from oxillama.requests.result_builder import ResultBuilder
from oxillama.requests.stream import ResultStream
from oxillama.results.completion import Completion


class LengthBuilder(ResultBuilder[int, int]):
    """A kind of request that a test adds: how many tokens are written, and each of them as a 1."""

    prompt_logprobs = None

    def take(self, most: int | None = None) -> list[int]:
        return [1 for chunk in CompletionBuilder(self.delivery).take(most) for _ in chunk.token_ids]

    def stream(self, handle: RequestHandle[int, int]) -> ResultStream[int, int]:
        return ResultStream(handle, str, str)

    def result(self) -> int:
        return self.usage.completion_tokens

    def partial(self) -> Completion:
        return CompletionBuilder(self.delivery).result()


def delivery(engine: Engine, **options: object) -> Delivery:
    params = SamplingParams(seed=4, ignore_eos=True, **options)  # type: ignore[arg-type]
    return engine._admission.generation("Once", params, None)


def lengths(engine: Engine, **options: object) -> RequestHandle[int, int]:
    builder = LengthBuilder(delivery(engine, **options))
    return RequestHandle(engine._lifecycle, builder, patience=math.inf, owner=engine)


def test_a_new_kind_is_a_builder_and_nothing_else(demo: Engine) -> None:
    handle = lengths(demo, max_tokens=7)
    assert handle.result() == 7
    assert handle.done
    assert list(lengths(demo, max_tokens=7)) == [1] * 7
    with lengths(demo, max_tokens=7).__iter__() as stream:
        assert next(stream) == 1
        assert stream.result() == 7


def test_what_there_was_is_told_by_the_kind(demo: Engine) -> None:
    handle = lengths(demo, max_tokens=50)
    handle.cancel()
    with pytest.raises(RequestCancelled) as caught:
        handle.result()
    assert isinstance(caught.value.partial, Completion)


@pytest.mark.parametrize("kind", ["embedding", "evaluation"])
def test_what_is_only_read_has_no_chunks(demo: Engine, kind: str) -> None:
    handle: RequestHandle[object, object]
    if kind == "embedding":
        handle = demo.submit_embedding("Once")  # type: ignore[assignment]
    else:
        handle = demo._prepare_evaluation("Once", keep_logits=False)  # type: ignore[assignment]
    with pytest.raises(TypeError, match="no chunks"):
        iter(handle)
    handle.result()
    assert handle.take() == []
    assert handle.prompt_logprobs is None


def test_a_chat_is_its_own_request(demo: Engine) -> None:
    handle = demo.submit_chat([{"role": "user", "content": "hi"}], max_tokens=4, seed=1)
    assert isinstance(handle, ChatHandle)
    assert isinstance(handle, RequestHandle)
    assert handle.request is handle
    assert handle.id.startswith("chatcmpl-")
    assert handle.result().id == handle.id
    assert handle.finish_reasons[0] in ("stop", "length")
