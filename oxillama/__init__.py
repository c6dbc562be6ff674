"""A CPU inference engine for GGUF language models, inside your own Python process."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from oxillama.chat_request import ChatHandle, ChatStream
    from oxillama.chat_results import ChatChoice, ChatCompletion, ChatCompletionChunk, ChatDelta, ChatMessage
    from oxillama.cpu import CpuInfo, cpu_info
    from oxillama.embedding import EmbeddingHandle
    from oxillama.engine import Engine
    from oxillama.include import get_include
    from oxillama.params import EmbeddingParams, SamplingParams
    from oxillama.request import CompletionStream, RequestHandle
    from oxillama.results import Completion, CompletionChoice, CompletionChunk, Logprobs, Timings, TokenLogprob, Usage
    from oxillama.sampler import Sampler, SamplerSession
    from oxillama.stats import EngineStats
    from oxillama.tokenizer import Tokenizer

# Imported when first asked for, so that `import oxillama` stays quick.
_HOMES = {
    "ChatChoice": "chat_results",
    "ChatCompletion": "chat_results",
    "ChatCompletionChunk": "chat_results",
    "ChatDelta": "chat_results",
    "ChatHandle": "chat_request",
    "ChatMessage": "chat_results",
    "ChatStream": "chat_request",
    "Completion": "results",
    "CompletionChoice": "results",
    "CompletionChunk": "results",
    "CompletionStream": "request",
    "CpuInfo": "cpu",
    "EmbeddingHandle": "embedding",
    "EmbeddingParams": "params",
    "Engine": "engine",
    "EngineStats": "stats",
    "Logprobs": "results",
    "RequestHandle": "request",
    "Sampler": "sampler",
    "SamplerSession": "sampler",
    "SamplingParams": "params",
    "Timings": "results",
    "TokenLogprob": "results",
    "Tokenizer": "tokenizer",
    "Usage": "results",
    "cpu_info": "cpu",
    "get_include": "include",
}

__all__ = [
    "AdapterError",
    "ChatChoice",
    "ChatCompletion",
    "ChatCompletionChunk",
    "ChatDelta",
    "ChatHandle",
    "ChatMessage",
    "ChatStream",
    "Completion",
    "CompletionChoice",
    "CompletionChunk",
    "CompletionStream",
    "ContextLengthError",
    "CpuInfo",
    "DeadlineExceeded",
    "EmbeddingHandle",
    "EmbeddingParams",
    "Engine",
    "EngineClosedError",
    "EngineForkedError",
    "EngineStats",
    "GrammarError",
    "InvalidRequestError",
    "Logprobs",
    "ModelLoadError",
    "NumericalError",
    "OxillamaError",
    "QueueFullError",
    "RequestCancelled",
    "RequestHandle",
    "Sampler",
    "SamplerSession",
    "SamplingParams",
    "TemplateError",
    "Timings",
    "TokenLogprob",
    "Tokenizer",
    "UnsupportedModelError",
    "Usage",
    "cpu_info",
    "get_include",
]


if not TYPE_CHECKING:  # a type checker must go on seeing which names exist

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
