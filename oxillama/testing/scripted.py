"""An engine that says what a test has written: for tests of what is built on one, without a model of sense.

It is an Engine in every other way: a tiny random model, held to the script token by token. So streams, stops, limits,
cancelling, both kinds of calls and the HTTP app are the real ones."""

from __future__ import annotations

import math
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, Unpack

import numpy as np
import numpy.typing as npt

from oxillama._core.fixed_tokens import FixedTokens
from oxillama.engine import Engine
from oxillama.errors import InvalidRequestError
from oxillama.requests.admission import Prompt
from oxillama.requests.beside import INLINE
from oxillama.requests.options import EngineOptions, SamplingOptions
from oxillama.requests.request import RequestHandle
from oxillama.sampling.params import SamplingParams, chosen_params
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
        # Also short prompts are read beside an event loop, where a delay holds nobody up.
        self._admission.work_size = lambda size, params, options: INLINE + 1  # type: ignore[method-assign]

    def prepare(
        self,
        prompt: Prompt,
        params: SamplingParams | None = None,
        *,
        queue_timeout: float | None = 0,
        cache_salt: str | None = None,
        **options: Unpack[SamplingOptions],
    ) -> RequestHandle:
        chosen = chosen_params(params, options)
        text = prompt if isinstance(prompt, str) else self._said(prompt)
        with self._script_lock:
            self.requests.append(Asked(text, chosen))
            line = self._script(text)
        reply = line if isinstance(line, Reply) else Reply(error=line) if isinstance(line, Exception) else Reply(line)
        time.sleep(reply.delay)
        if reply.error is not None and not reply.text:
            raise reply.error
        tokens = [FIRST_BYTE + byte for byte in reply.text.encode()]
        handle = super().prepare(
            prompt, chosen.replace(grammar=_Fixed(tokens)), queue_timeout=queue_timeout, cache_salt=cache_salt
        )
        if reply.error is not None:
            _fail_at_the_end(handle, reply.error)
        return handle

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


def _fail_at_the_end(handle: RequestHandle, error: Exception) -> None:
    ends = handle.raise_for_end

    def raise_for_end() -> None:
        ends()
        raise error

    changed: Any = handle
    changed.raise_for_end = raise_for_end
