"""A CPU inference engine for GGUF language models, inside your own Python process."""

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

__all__ = [
    "AdapterError",
    "ContextLengthError",
    "DeadlineExceeded",
    "EngineClosedError",
    "EngineForkedError",
    "GrammarError",
    "InvalidRequestError",
    "ModelLoadError",
    "NumericalError",
    "OxillamaError",
    "QueueFullError",
    "RequestCancelled",
    "TemplateError",
    "UnsupportedModelError",
]
