"""An engine that says what a test has written: for tests of what is built on one, without a model of sense.

It is an Engine in every other way: a tiny random model, held to the script token by token. So streams, stops, limits,
cancelling, both kinds of calls and the HTTP app are the real ones."""

from __future__ import annotations

import math
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, Unpack

import numpy as np
import numpy.typing as npt

from oxillama._core.fixed_tokens import FixedTokens
from oxillama.chat.thinking import Thinking
from oxillama.engine import Engine
from oxillama.errors import InvalidRequestError
from oxillama.requests.admission import Prompt
from oxillama.requests.beside import INLINE
from oxillama.requests.delivery import Delivery
from oxillama.requests.options import EngineOptions
from oxillama.results.chat import ChatCompletion
from oxillama.results.completion import Completion
from oxillama.sampling.params import SamplingParams
from oxillama.testing.tiny_models import FIRST_BYTE, TinyModel
from oxillama.values import real

# Roles on lines of their own, so that what was asked can be read in `requests`.
TEMPLATE = (
    "{% if tools %}tools: {{ tools | tojson }}\n{% endif %}"
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
N_CTX = 1 << 15
SPACE = "\u2581"  # as the tokenizer writes it


@dataclass(frozen=True)
class Reply:
    """One line of a script. text: what is said, a byte a token. delay: seconds before anything comes. error: raised
    with the submission, or, where there is text too, after it."""

    text: str = ""
    delay: float = 0.0
    error: Exception | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise TypeError(f"text is a {type(self.text).__name__}, expected a str")
        object.__setattr__(self, "delay", real("delay", self.delay, 0.0, math.inf))


@dataclass(frozen=True)
class Asked:
    """A request that was made of a scripted engine."""

    prompt: str
    params: SamplingParams = field(repr=False)


Line: TypeAlias = str | Reply | Exception
Script: TypeAlias = Iterable[Line] | Callable[[str], Line]


class ScriptedEngine(Engine):
    """script: what requests get, in the order of their submission: texts, `Reply`, or exceptions, which are raised; or
    a function of the prompt's text. `requests` is what was asked so far. options: those of Engine.

    After the last line every request is an InvalidRequestError, so a test sees that more was asked than it thought.

    >>> from oxillama.testing import ScriptedEngine
    >>> with ScriptedEngine(["Hello!", "Good bye!"]) as engine:
    ...     print(engine.chat([{"role": "user", "content": "hi"}]).text)
    ...     print("".join(chunk.text for chunk in engine.stream("anything")))
    ...     print(engine.requests[0].prompt)
    Hello!
    Good bye!
    user: hi
    assistant:
    """

    def __init__(self, script: Script = (), **options: Unpack[EngineOptions]) -> None:
        if isinstance(script, str):
            raise TypeError("script is one str, expected a sequence of lines or a function")
        self._script: Callable[[str], Line] = script if callable(script) else _Lines(script).next
        self._script_lock = threading.Lock()
        self.requests: list[Asked] = []
        # Read, not mapped: the file is gone when the engine runs.
        given: dict[str, Any] = {"n_threads": 1, "progress": False, **options, "mmap": False}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "scripted.gguf"
            TinyModel(
                n_layers=1, n_embd=32, n_ff=32, n_head=2, n_head_kv=1, n_ctx=N_CTX, tokenizer=True,
                metadata={"tokenizer.chat_template": TEMPLATE, "tokenizer.ggml.add_space_prefix": False},
            ).write(path)  # fmt: skip
            super().__init__(path, **given)

    def _work_size(self, prompt: Prompt, params: SamplingParams | None, options: Mapping[str, Any]) -> int:
        """Also short prompts are read beside an event loop, where a delay holds nobody up."""
        return INLINE + 1

    def _generation(
        self, prompt: Prompt, params: SamplingParams, cache_salt: str | None, thinking: Thinking | None = None
    ) -> Delivery:
        text = prompt if isinstance(prompt, str) else self._said(prompt)
        with self._script_lock:
            self.requests.append(Asked(text, params))
            line = self._script(text)
        reply = line if isinstance(line, Reply) else Reply(error=line) if isinstance(line, Exception) else Reply(line)
        time.sleep(reply.delay)
        if reply.error is not None and not reply.text:
            raise reply.error
        fixed = _Fixed([FIRST_BYTE + byte for byte in reply.text.encode()])
        delivery = super()._generation(prompt, params.replace(grammar=fixed), cache_salt, thinking)
        return delivery if reply.error is None else _FailingDelivery(delivery, reply.error)

    def _said(self, ids: Sequence[int] | npt.NDArray[np.integer[Any]]) -> str:
        """The text of a prompt, as whoever asked wrote it."""
        text = self._admission.require_tokenizer().decode([int(token) for token in ids], skip_special=True)
        return text.replace(SPACE, " ")


class _Fixed:
    """A source of constraints, see `oxillama.structured.source`."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = tokens

    def constraint(self, n_vocab: int, end_tokens: Sequence[int]) -> FixedTokens:
        return FixedTokens(self._tokens, n_vocab, end_tokens)


class _Lines:
    """The lines of a script, one after the other."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = iter(lines)
        self._num_told = 0

    def next(self, prompt: str) -> Line:
        for line in self._lines:
            self._num_told += 1
            return line
        raise InvalidRequestError(f"the script had {self._num_told} replies, and this is one request more")


class _FailingDelivery(Delivery):
    """A reply that comes as a whole, and then is an error."""

    def __init__(self, delivery: Delivery, error: Exception) -> None:
        super().__init__(delivery.handles, delivery.spec, delivery.tokenizer)
        self._error = error

    def failure(self, partial: Callable[[], Completion | ChatCompletion]) -> Exception:
        return super().failure(partial) or self._error
