"""How an engine is set up, a part per component: checked as soon as it is made, before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from oxillama._core.scheduling.kv_cache import KV_TYPES
from oxillama.errors import InvalidRequestError
from oxillama.values import integer, real, refused

MAX_QUEUE = MAX_BATCH = (1 << 20) - 1
MAX_STEP_MS = 1e9
STEP_TOKENS = 512  # unless told otherwise
SNAPSHOT_TOKENS = 512  # a recurrent state is kept after so many tokens, a multiple of a block


@dataclass(frozen=True)
class CacheConfig:
    """How much context a model is opened with. None: as in `Engine`."""

    n_ctx: int | None = None
    kv_dtype: str = "f16"
    kv_cache_tokens: int | None = None
    prefix_cache_tokens: int | None = None
    has_draft: bool = False  # a draft model, whose cache has as many blocks

    def __post_init__(self) -> None:
        if self.kv_dtype not in KV_TYPES:
            raise InvalidRequestError(
                f"kv_dtype is {self.kv_dtype!r}, expected one of {', '.join(KV_TYPES)}", param="kv_dtype"
            )
        for name, least in (("n_ctx", 1), ("kv_cache_tokens", 1), ("prefix_cache_tokens", 0)):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, integer(name, getattr(self, name), least, 2**31 - 1))


F16_WEIGHTS = ("exact", "bf16")


@dataclass(frozen=True)
class WeightsConfig:
    """How weights are kept, as in `Engine`."""

    f16: str = "exact"

    def __post_init__(self) -> None:
        if self.f16 not in F16_WEIGHTS:
            raise refused("f16", " or ".join(map(repr, F16_WEIGHTS)), self.f16)


EXACT_WEIGHTS = WeightsConfig()

SPECULATIONS = ("auto", "off")


@dataclass(frozen=True)
class SchedulerConfig:
    """How requests share the worker, as in `Engine`."""

    max_batch_size: int = 32
    max_batch_tokens: int | None = None
    max_step_ms: float = 100
    queue_size: int = 256
    prefix_cache: bool = True
    speculation: str = "auto"

    def __post_init__(self) -> None:
        size = integer("max_batch_size", self.max_batch_size, 1, MAX_BATCH)
        object.__setattr__(self, "max_batch_size", size)
        if self.max_batch_tokens is not None:
            tokens = integer("max_batch_tokens", self.max_batch_tokens, 1, MAX_BATCH)
            object.__setattr__(self, "max_batch_tokens", tokens)
        object.__setattr__(self, "max_step_ms", real("max_step_ms", self.max_step_ms, 0, MAX_STEP_MS))
        object.__setattr__(self, "queue_size", integer("queue_size", self.queue_size, 1, MAX_QUEUE))
        if not isinstance(self.prefix_cache, bool):
            raise refused("prefix_cache", "True or False", self.prefix_cache)
        if self.speculation not in SPECULATIONS:
            raise refused("speculation", " or ".join(map(repr, SPECULATIONS)), self.speculation)

    def step_tokens(self, whole_prompt: int = 0) -> int:
        """Most tokens of a step, which has room for one of every sequence. whole_prompt: tokens of the longest prompt
        that is computed in one step, for networks that need that."""
        wanted = max(STEP_TOKENS, whole_prompt) if self.max_batch_tokens is None else self.max_batch_tokens
        return min(MAX_BATCH, max(self.max_batch_size, wanted))
