"""Every exception the library raises, in one tree.

::

    OxillamaError
    ├── ModelLoadError (ValueError)          the file is damaged or incomplete, or memory or threads do not suffice
    ├── UnsupportedModelError                the file is sound, but this version cannot run it
    ├── InvalidRequestError (ValueError)     a request that cannot be served as asked; has .param and .code
    │   ├── ContextLengthError               too many tokens; has .n_prompt_tokens and .n_ctx
    │   ├── GrammarError                     a constraint that cannot be compiled
    │   ├── TemplateError                    a chat template that cannot be rendered
    │   └── AdapterError                     an adapter that is missing or does not fit the model
    ├── QueueFullError                       no room in the request queue; has .retry_after
    ├── RequestCancelled                     has .partial, what was generated so far
    ├── DeadlineExceeded (TimeoutError)      has .partial, what was generated so far
    ├── EngineClosedError                    the engine was closed before or during the call
    ├── EngineForkedError                    the engine was made in a parent process
    └── NumericalError                       the model produced NaN or infinity; has .code
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oxillama.results.chat import ChatCompletion
    from oxillama.results.completion import Completion


class OxillamaError(Exception):
    """Base class of everything raised on purpose by oxillama. ``index``: which one of several it was; None: there was
    one."""

    index: int | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is copied and unpickled from its message alone, too little for a class with required keywords.
        return _restore, (type(self), self.args), self.__dict__


class ModelLoadError(OxillamaError, ValueError):
    """The model file is damaged, incomplete, inconsistent, or does not fit into memory; or the system refuses the
    threads that the engine was asked for."""


class UnsupportedModelError(OxillamaError):
    """The model file is sound, but needs something this version does not have."""


class InvalidRequestError(OxillamaError, ValueError):
    """A request that cannot be served as asked.

    ``param`` names the offending parameter, or is None; ``code`` is a stable machine-readable word.
    """

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class ContextLengthError(InvalidRequestError):
    """The prompt has more tokens than the context, or the whole KV cache, can hold.

    ``at_least``: a long prompt was not counted to its end, so ``n_prompt_tokens`` may be less than it has."""

    def __init__(
        self,
        message: str,
        *,
        n_prompt_tokens: int,
        n_ctx: int,
        param: str | None = "prompt",
        at_least: bool = False,
    ) -> None:
        super().__init__(message, param=param, code="context_length_exceeded")
        self.n_prompt_tokens = n_prompt_tokens
        self.n_ctx = n_ctx
        self.at_least = at_least


class GrammarError(InvalidRequestError):
    """A grammar, schema or regular expression that cannot be compiled."""


class TemplateError(InvalidRequestError):
    """A chat template that cannot be rendered, or refuses the conversation."""


class AdapterError(InvalidRequestError):
    """An adapter that is unknown, damaged, or does not fit the model."""


class QueueFullError(OxillamaError):
    """The request queue is full; ``retry_after`` is the suggested wait in seconds."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RequestCancelled(OxillamaError):
    """The request was cancelled; ``partial`` is the completion up to that point, or None."""

    def __init__(
        self, message: str = "the request was cancelled", *, partial: Completion | ChatCompletion | None = None
    ) -> None:
        super().__init__(message)
        self.partial = partial


class DeadlineExceeded(OxillamaError, TimeoutError):
    """The request's deadline passed; ``partial`` is the completion up to that point, or None."""

    def __init__(
        self, message: str = "the deadline of the request passed", *, partial: Completion | ChatCompletion | None = None
    ) -> None:
        super().__init__(message)
        self.partial = partial


class EngineClosedError(OxillamaError):
    """The engine was closed before or during the call."""


class EngineForkedError(OxillamaError):
    """The engine belongs to the parent process; open a new one after ``fork()``."""


class NumericalError(OxillamaError):
    """The model produced NaN or infinite logits for this request: its weights are damaged, or their sums too large.

    The same request to the same model ends the same way, so it is of no use to try it again. ``code`` is a stable
    machine-readable word.
    """

    code = "numerical_error"


def _restore(kind: type[OxillamaError], args: tuple[Any, ...]) -> OxillamaError:
    error = kind.__new__(kind)
    error.args = args
    return error
