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
    __version__: str
    from oxillama.cpu import CpuInfo, cpu_info
    from oxillama.decisions import Choice, Decision, Score, YesNo
    from oxillama.engine import Engine
    from oxillama.include import get_include
    from oxillama.requests.chat import ChatHandle
    from oxillama.requests.chat_builder import ChatStream
    from oxillama.requests.completion_builder import CompletionStream
    from oxillama.requests.embedding import EmbeddingHandle
    from oxillama.requests.options import (
        ChatOptions,
        EmbeddingOptions,
        EngineOptions,
        RequestOptions,
        SamplingOptions,
    )
    from oxillama.requests.request import RequestHandle
    from oxillama.results.chat import ChatChoice, ChatCompletion, ChatCompletionChunk, ChatDelta, ChatMessage
    from oxillama.results.completion import (
        Completion,
        CompletionChoice,
        CompletionChunk,
        Logprobs,
        Timings,
        TokenLogprob,
        Usage,
    )
    from oxillama.results.stats import EngineStats
    from oxillama.sampling.params import EmbeddingParams, SamplingParams
    from oxillama.sampling.sampler import Sampler, SamplerSession
    from oxillama.sentences import CrossEncoder, SentenceEncoder
    from oxillama.structured.grammar import Grammar
    from oxillama.tokenizer import Tokenizer
    from oxillama.turns import Turns

# Imported when first asked for, so that `import oxillama` stays quick.
_HOMES = {
    "ChatChoice": "results.chat",
    "ChatCompletion": "results.chat",
    "ChatCompletionChunk": "results.chat",
    "ChatDelta": "results.chat",
    "ChatHandle": "requests.chat",
    "ChatMessage": "results.chat",
    "ChatOptions": "requests.options",
    "ChatStream": "requests.chat_builder",
    "Choice": "decisions",
    "Completion": "results.completion",
    "CompletionChoice": "results.completion",
    "CompletionChunk": "results.completion",
    "CompletionStream": "requests.completion_builder",
    "CpuInfo": "cpu",
    "CrossEncoder": "sentences",
    "Decision": "decisions",
    "EmbeddingHandle": "requests.embedding",
    "EmbeddingOptions": "requests.options",
    "EmbeddingParams": "sampling.params",
    "Engine": "engine",
    "EngineOptions": "requests.options",
    "EngineStats": "results.stats",
    "Grammar": "structured.grammar",
    "Logprobs": "results.completion",
    "RequestHandle": "requests.request",
    "RequestOptions": "requests.options",
    "Sampler": "sampling.sampler",
    "SamplerSession": "sampling.sampler",
    "SamplingOptions": "requests.options",
    "SamplingParams": "sampling.params",
    "Score": "decisions",
    "SentenceEncoder": "sentences",
    "Timings": "results.completion",
    "TokenLogprob": "results.completion",
    "Tokenizer": "tokenizer",
    "Turns": "turns",
    "Usage": "results.completion",
    "YesNo": "decisions",
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
    "ChatOptions",
    "ChatStream",
    "Choice",
    "Completion",
    "CompletionChoice",
    "CompletionChunk",
    "CompletionStream",
    "ContextLengthError",
    "CpuInfo",
    "CrossEncoder",
    "DeadlineExceeded",
    "Decision",
    "EmbeddingHandle",
    "EmbeddingOptions",
    "EmbeddingParams",
    "Engine",
    "EngineClosedError",
    "EngineForkedError",
    "EngineOptions",
    "EngineStats",
    "Grammar",
    "GrammarError",
    "InvalidRequestError",
    "Logprobs",
    "ModelLoadError",
    "NumericalError",
    "OxillamaError",
    "QueueFullError",
    "RequestCancelled",
    "RequestHandle",
    "RequestOptions",
    "Sampler",
    "SamplerSession",
    "SamplingOptions",
    "SamplingParams",
    "Score",
    "SentenceEncoder",
    "TemplateError",
    "Timings",
    "TokenLogprob",
    "Tokenizer",
    "Turns",
    "UnsupportedModelError",
    "Usage",
    "YesNo",
    "cpu_info",
    "get_include",
]


if not TYPE_CHECKING:  # a type checker must go on seeing which names exist

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            return _version()
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    from oxillama.extras import DISTRIBUTION

    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:  # a source tree that nobody has installed
        return "0+unknown"
