"""Questions that a model answers by choosing, and their answers: probabilities instead of prose."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from oxillama.errors import InvalidRequestError
from oxillama.values import integer, refused

# One letter stands for each option where the options are listed.
MAX_OPTIONS = 52
Value: TypeAlias = str | bool | float


@dataclass(frozen=True)
class Choice:
    """One of several options: texts, or a mapping from each to what it means (None: it speaks for itself).

    question: None: the key under which it is asked. Raises InvalidRequestError for fewer than two options, for more
    than can be told apart (52), and for options that are no different texts."""

    options: Sequence[str] | Mapping[str, str | None]
    question: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.options, str | bytes) or not isinstance(self.options, Sequence | Mapping):
            raise refused("options", "a sequence of texts, or a mapping from texts", self.options)
        names = list(self.options)
        if not all(isinstance(name, str) and name.strip() for name in names):
            raise refused("options", "made of texts that are not empty", names)
        if len(set(names)) != len(names):
            raise refused("options", "different from each other", names)
        if not 2 <= len(names) <= MAX_OPTIONS:
            raise refused("options", f"2 to {MAX_OPTIONS} of them", len(names))
        meanings = self.options if isinstance(self.options, Mapping) else dict.fromkeys(names)
        if not all(meaning is None or isinstance(meaning, str) for meaning in meanings.values()):
            raise refused("options", "a mapping to texts or None", self.options)
        object.__setattr__(self, "options", dict(meanings))
        _check_question(self.question)

    def listed(self) -> dict[str, str | None]:
        """What each option is called, and what it means."""
        return dict(self.options)  # type: ignore[arg-type]  # made a mapping above

    def decision(self, probabilities: Sequence[float]) -> Decision:
        names = self.listed()
        best = max(range(len(probabilities)), key=lambda index: probabilities[index])
        return Decision(list(names)[best], dict(zip(names, probabilities, strict=True)), _confidence(probabilities))


@dataclass(frozen=True)
class YesNo:
    """Whether something is so. question: None: the key under which it is asked. yes, no: what these mean, where that is
    not plain."""

    question: str | None = None
    yes: str | None = None
    no: str | None = None

    def __post_init__(self) -> None:
        _check_question(self.question)
        for name in ("yes", "no"):
            if getattr(self, name) is not None and not isinstance(getattr(self, name), str):
                raise refused(name, "a text or None", getattr(self, name))

    def listed(self) -> dict[str, str | None]:
        return {"yes": self.yes, "no": self.no}

    def decision(self, probabilities: Sequence[float]) -> Decision:
        found: dict[Any, float] = {True: probabilities[0], False: probabilities[1]}
        return Decision(probabilities[0] >= probabilities[1], found, _confidence(probabilities))


@dataclass(frozen=True)
class Score:
    """How much of something: an integer from low to high, both included, at most 52 of them.

    question: None: the key under which it is asked. levels: what each of them means, in their order. Its value is the
    mean of the levels, each weighed by its probability."""

    low: int
    high: int
    question: str | None = None
    levels: Sequence[str] | None = None

    def __post_init__(self) -> None:
        bound = 2**31 - 1
        low, high = integer("low", self.low, -bound, bound), integer("high", self.high, -bound, bound)
        if not 1 <= high - low < MAX_OPTIONS:
            raise refused("high", f"above low, and at most {MAX_OPTIONS} levels", f"{low} to {high}")
        if self.levels is not None:
            levels = tuple(self.levels)
            if isinstance(self.levels, str) or len(levels) != high - low + 1:
                raise refused("levels", f"{high - low + 1} texts", self.levels)
            if not all(isinstance(level, str) for level in levels):
                raise refused("levels", "made of texts", levels)
            object.__setattr__(self, "levels", levels)
        _check_question(self.question)

    def listed(self) -> dict[str, str | None]:
        numbers = range(self.low, self.high + 1)
        meanings: Sequence[str | None] = self.levels or [None] * len(numbers)
        return dict(zip(map(str, numbers), meanings, strict=True))

    def decision(self, probabilities: Sequence[float]) -> Decision:
        found: dict[Any, float] = dict(zip(range(self.low, self.high + 1), probabilities, strict=True))
        mean = math.fsum(level * probability for level, probability in found.items())
        return Decision(mean, found, _confidence(probabilities))


Question: TypeAlias = Choice | YesNo | Score


@dataclass(frozen=True)
class Decision:
    """The answer to one question.

    value: of a Choice the option, of a YesNo a bool, of a Score the mean of its levels. probabilities: of each option,
    of True and False, or of each level; they sum to 1. confidence: 0 where all are equally likely, 1 where one is
    certain: 1 less their entropy over the greatest that so many options can have."""

    value: Value
    probabilities: Mapping[Any, float] = field(repr=False)
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        named = {str(option).lower() if isinstance(option, bool) else str(option): p for option, p in self._items()}
        return {"value": self.value, "probabilities": named, "confidence": self.confidence}

    def _items(self) -> Iterable[tuple[Any, float]]:
        return self.probabilities.items()


def _check_question(question: object) -> None:
    if question is not None and (not isinstance(question, str) or not question.strip()):
        raise InvalidRequestError(
            "question must be a text that is not empty, or None for the key that it is asked under", param="question"
        )


def _confidence(probabilities: Sequence[float]) -> float:
    entropy = -math.fsum(p * math.log(p) for p in probabilities if p > 0)
    return min(1.0, max(0.0, 1 - entropy / math.log(len(probabilities))))
