"""The parts of an engine's setup by themselves. That `Engine` names a wrong option is in test_engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from oxillama import InvalidRequestError
from oxillama.config import CacheConfig, SchedulerConfig, WeightsConfig


def test_a_step_has_room_for_a_token_of_every_sequence() -> None:
    assert SchedulerConfig(max_batch_size=600).step_tokens() == 600
    assert SchedulerConfig(max_batch_size=600, max_batch_tokens=700).step_tokens() == 700
    assert SchedulerConfig().step_tokens() == 512
    assert SchedulerConfig().step_tokens(whole_prompt=8192) == 8192
    assert SchedulerConfig(max_batch_tokens=100).step_tokens(whole_prompt=8192) == 100


def test_numbers_become_python_s_own() -> None:
    scheduler = SchedulerConfig(max_batch_size=np.int64(3), max_step_ms=np.float32(5), queue_size=np.int16(2))  # type: ignore[arg-type]
    assert [type(value) for value in (scheduler.max_batch_size, scheduler.max_step_ms)] == [int, float]
    assert type(scheduler.queue_size) is int
    assert type(CacheConfig(n_ctx=np.int64(64)).n_ctx) is int  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        (SchedulerConfig, "max_batch_size", 0),
        (SchedulerConfig, "max_batch_tokens", 2.0),
        (SchedulerConfig, "max_step_ms", float("nan")),
        (SchedulerConfig, "queue_size", 1 << 20),
        (SchedulerConfig, "prefix_cache", 1),
        (SchedulerConfig, "speculation", "on"),
        (SchedulerConfig, "speculation", True),
        (CacheConfig, "n_ctx", 2**31),
        (CacheConfig, "kv_cache_tokens", True),
        (CacheConfig, "prefix_cache_tokens", -1),
        (CacheConfig, "kv_dtype", "F16"),
        (WeightsConfig, "f16", "f16"),
    ],
)
def test_a_value_without_sense_is_named(part: Any, name: str, value: object) -> None:
    with pytest.raises(InvalidRequestError, match=name) as caught:
        part(**{name: value})
    assert caught.value.param == name
