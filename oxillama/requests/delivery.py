"""What the core has delivered of a request: its sequences, one per choice, and how they ended. Nothing here waits."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oxillama._core.output.handle import Handle, TokenEvent
from oxillama.errors import (
    AdapterError,
    DeadlineExceeded,
    EngineClosedError,
    GrammarError,
    InvalidRequestError,
    NumericalError,
    OxillamaError,
    RequestCancelled,
)
from oxillama.results.completion import FinishReason, Timings, Usage

if TYPE_CHECKING:
    from oxillama.results.chat import ChatCompletion
    from oxillama.results.completion import Completion
    from oxillama.structured.grammar import Grammar
    from oxillama.tokenizer import Tokenizer

# What ends a choice normally; everything else raises.
FINISH_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}


@dataclass(frozen=True, kw_only=True)
class RequestSpec:
    """What is known of a request before it begins, and needed to shape its results."""

    id: str
    model: str
    created: int
    seed: int = 0
    stops: tuple[str, ...] = field(default=(), repr=False)
    n: int = 1
    wants_logprobs: bool = False
    grammar: Grammar | None = field(default=None, repr=False)
    expires: float = math.inf  # on the monotonic clock


class Choice:
    """One sequence, and everything it has delivered."""

    def __init__(self, handle: Handle, index: int) -> None:
        self.handle = handle
        self.index = index
        self.events: list[TokenEvent] = []
        self.texts: list[str] = []
        self.ahead: list[TokenEvent] = []  # delivered by the core, but not given out yet
        self.rest: str | None = None  # the text after the last token, once the core has delivered everything
        self.finished = False  # everything has been given out

    def receive(self, most: int | None = None) -> tuple[list[TokenEvent], str | None]:
        """New tokens, and once, at the end, the text that was held back until then."""
        if self.finished:
            return [], None
        if self.rest is None:
            events, rest, is_last = self.handle.take()
            self.ahead += events
            self.rest = rest if is_last else None
        events, self.ahead = (self.ahead, []) if most is None else (self.ahead[:most], self.ahead[most:])
        self.events += events
        self.texts += [event.text for event in events]
        if self.rest is None or self.ahead:
            return events, None
        self.finished = True
        self.texts.append(self.rest)
        return events, self.rest


class Delivery:
    """Takes what comes from the core's handles. Any thread may ask; who takes from the choices holds `lock`.

    tokenizer: what the tokens mean, where the model has one."""

    def __init__(self, handles: list[Handle], spec: RequestSpec, tokenizer: Tokenizer | None) -> None:
        self.spec = spec
        self.tokenizer = tokenizer
        self.choices = [Choice(handle, index) for index, handle in enumerate(handles)]
        self.lock = threading.Lock()
        self._first = 0  # of the choices, to be asked next

    @property
    def handles(self) -> list[Handle]:
        return [choice.handle for choice in self.choices]

    @property
    def open_handles(self) -> list[Handle]:
        """Those that have not delivered everything yet."""
        return [choice.handle for choice in self.choices if not choice.finished]

    @property
    def exhausted(self) -> bool:
        """Everything has been taken."""
        return all(choice.finished for choice in self.choices)

    @property
    def usage(self) -> Usage:
        """Counts so far."""
        first = self.choices[0].handle
        return Usage(
            prompt_tokens=first.num_prompt_tokens,
            completion_tokens=sum(choice.handle.num_published for choice in self.choices),
            cached_tokens=first.num_cached_tokens,
            accepted_prediction_tokens=sum(choice.handle.num_accepted_drafts for choice in self.choices),
            rejected_prediction_tokens=sum(choice.handle.num_rejected_drafts for choice in self.choices),
        )

    @property
    def timings(self) -> Timings:
        """Where the time went; a part that is not over is 0."""
        submit, start, prefill, first, end = self.choices[0].handle.times
        last = max(choice.handle.times[4] for choice in self.choices)
        return Timings(
            queue=max(0.0, start - submit) if start else max(0.0, end - submit),
            prefill=max(0.0, prefill - start),
            decode=max(0.0, last - prefill) if prefill else 0.0,
            ttft=max(0.0, first - submit),
        )

    def in_turn(self) -> Iterator[Choice]:
        """The choices, each call from another one on: who takes only some must not always take the same ones'."""
        n = len(self.choices)
        first, self._first = self._first, (self._first + 1) % n
        return (self.choices[(first + step) % n] for step in range(n))

    def collect(self) -> bool:
        """Takes what has come without making anything of it. True: that was all."""
        self.arrivals()
        return self.exhausted

    def arrivals(self) -> list[tuple[int, int]]:
        """Takes what has come without making anything of it: (choice, how many tokens) of each that got any."""
        with self.lock:
            found = [(choice.index, len(choice.receive()[0])) for choice in self.choices if not choice.finished]
            return [(index, n_tokens) for index, n_tokens in found if n_tokens]

    def failure(self, partial: Callable[[], Completion | ChatCompletion]) -> Exception | None:
        """What ended the request, if it was not its natural end; `partial` makes what there was until then."""
        for handle in self.handles:
            reason = handle.finish_reason
            if reason is not None and reason not in FINISH_REASONS:
                return _failure(reason, handle.fault, partial)
        return None


def _failure(reason: str, fault: str | None, partial: Callable[[], Completion | ChatCompletion]) -> Exception:
    match reason:
        case "cancelled":
            return RequestCancelled(partial=partial())
        case "deadline":
            return DeadlineExceeded(partial=partial())
        case "closed":
            return EngineClosedError("the engine was closed while the request was running")
    match fault:
        case "numerical":
            return NumericalError("the model produced NaN or infinite logits for this request")
        case "no_token":
            # As Sampler says it.
            return InvalidRequestError("bans, bias and grammar leave no token to choose from", code="no_token_left")
        case "dead_end":
            return GrammarError(
                "the grammar, bans and bias leave no token to choose from", param="grammar", code="dead_end"
            )
        case "constraint":
            return GrammarError(
                "following the grammar takes more work or memory than is allowed for one token",
                param="grammar",
                code="grammar_limit",
            )
        case "adapter":
            return AdapterError(
                "an adapter of the request was unloaded by force", param="lora", code="adapter_unloaded"
            )
        case "memory":
            return MemoryError("no memory for the request's output")
    return OxillamaError(f"the request failed: {fault}")
