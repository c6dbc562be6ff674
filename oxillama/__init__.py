"""A CPU inference engine for GGUF language models, inside your own Python process."""

import importlib
import typing

from oxillama.errors import (
    AdapterError,
    ContextLengthError,
    DeadlineExceeded,
    EngineClosedError,
    EngineForkedError,
    GrammarError,
    InvalidRequestError,
    ModelLoadError,
    NumericalError,
    OxillamaError,
    QueueFullError,
    RequestCancelled,
    TemplateError,
    UnsupportedModelError,
)
from oxillama.params import SamplingParams
from oxillama.results import (
    Completion,
    CompletionChoice,
    CompletionChunk,
    Logprobs,
    Timings,
    TokenLogprob,
    Usage,
)

if typing.TYPE_CHECKING:
    from oxillama.sampler import Sampler, SamplerSession

# Imported at first use, because they bring numpy along.
_LAZY = {"Sampler": "oxillama.sampler", "SamplerSession": "oxillama.sampler"}

__all__ = [
    "AdapterError",
    "Completion",
    "CompletionChoice",
    "CompletionChunk",
    "ContextLengthError",
    "DeadlineExceeded",
    "EngineClosedError",
    "EngineForkedError",
    "GrammarError",
    "InvalidRequestError",
    "Logprobs",
    "ModelLoadError",
    "NumericalError",
    "OxillamaError",
    "QueueFullError",
    "RequestCancelled",
    "Sampler",
    "SamplerSession",
    "SamplingParams",
    "TemplateError",
    "Timings",
    "TokenLogprob",
    "UnsupportedModelError",
    "Usage",
]

if not typing.TYPE_CHECKING:  # a type checker must go on seeing which names exist

    def __getattr__(name: str) -> typing.Any:
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
