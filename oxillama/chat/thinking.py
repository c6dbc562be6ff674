"""Where a model's replies think, as the core follows it token by token: for budgets, and for stop texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from oxillama._core.constraint import Constraint
from oxillama._core.output.text_stream import TextStream
from oxillama._core.output.thinking import ThinkingMarks
from oxillama._core.structured.thinking_budget import ThinkingBudget
from oxillama.chat.reasoning import ThinkTags
from oxillama.errors import InvalidRequestError
from oxillama.sampling.params import SamplingParams
from oxillama.tokenizer import Tokenizer

# What is no byte stands behind them.
_HIDDEN = 256


@dataclass(frozen=True)
class Thinking:
    """Of one prompt. ``marks`` None: its reply does not think. ``is_open``: the prompt has opened the thinking.
    ``silences_stops``: stop texts in it do not count, unless the parameters say so."""

    marks: ThinkingMarks | None = None
    is_open: bool = False
    silences_stops: bool = True

    def text_stream(self, tokenizer: Tokenizer, params: SamplingParams) -> TextStream:
        """What turns the reply's tokens into text."""
        return TextStream(tokenizer.table, params.stop, thinking=self.silent(params), is_open=self.is_open)

    def silent(self, params: SamplingParams) -> ThinkingMarks | None:
        """The marks of thinking in which the stop texts of a request do not count."""
        return self.marks if self.silences_stops and params.stop and not params.stop_in_thinking else None

    def limited(
        self, tokenizer: Tokenizer | None, n_vocab: int, params: SamplingParams, inner: Constraint | None
    ) -> Constraint | None:
        """A constraint, or none, with the budget of the parameters. Raises InvalidRequestError where they forbid what
        closes the thinking."""
        if params.thinking_budget is None or self.marks is None or tokenizer is None:
            return inner
        closers = set(self.marks.closers)
        banned = {*params.banned_tokens, *(key for key, bias in params.logit_bias.items() if bias == -float("inf"))}
        if closers & banned:
            _refuse("closing the thinking needs a token that is banned")
        if closers & tokenizer.eog_ids:
            _refuse("the model closes its thinking with a token that ends its reply")
        return ThinkingBudget(
            self.marks, tokenizer.table, n_vocab, params.thinking_budget, is_open=self.is_open, inner=inner
        )


def thinking_marks(tokenizer: Tokenizer, tags: ThinkTags) -> ThinkingMarks | None:
    """The markers of a model's thinking; None where its vocabulary cannot write the one that closes it."""
    closing = _symbols(tokenizer, tags.closing.strip())
    whole = _first_token(tokenizer, closing) if closing else None
    if whole is None:
        return None
    rests = [_first_token(tokenizer, closing[start:]) for start in range(1, len(closing))]
    # Where there is no token for the rest of a character, it begins again.
    closers = [whole, *(whole if token is None else token for token in rests)]
    return ThinkingMarks(_symbols(tokenizer, tags.opening.strip()), closing, closers)


def _symbols(tokenizer: Tokenizer, text: str) -> tuple[int, ...]:
    """A marker as the core sees it: bytes, and the control tokens in it."""
    controls = sorted(tokenizer.control_texts(), key=len, reverse=True)
    cut = re.split("(" + "|".join(map(re.escape, controls)) + ")", text) if controls else [text]
    symbols: list[int] = []
    for place, piece in enumerate(cut):
        token = _control(tokenizer, piece) if place % 2 else None
        symbols += piece.encode() if token is None else [_HIDDEN + token]
    return tuple(symbols)


def _control(tokenizer: Tokenizer, text: str) -> int | None:
    ids = tokenizer.encode(text, add_special=False, parse_special=True)
    return ids[0] if len(ids) == 1 and tokenizer.is_control(ids[0]) else None


def _first_token(tokenizer: Tokenizer, symbols: Sequence[int]) -> int | None:
    """The token with which the model itself would write this, or the longest one that begins it."""
    if symbols[0] >= _HIDDEN:
        return symbols[0] - _HIDDEN
    size = next((place for place, symbol in enumerate(symbols) if symbol >= _HIDDEN), len(symbols))
    text = bytes(symbols[:size])
    whole = tokenizer.find(text)
    if whole is not None and not tokenizer.is_control(whole):
        return whole
    try:
        # Special ones too: files that call the tags control tokens have them as text all the same.
        ids = tokenizer.encode(text.decode(), add_special=False, parse_special=True)
    except UnicodeDecodeError:
        ids = []
    if ids and not any(map(tokenizer.is_control, ids)) and b"".join(map(tokenizer.token_bytes, ids)) == text:
        return ids[0]
    for end in range(size, 0, -1):
        token = tokenizer.find(text[:end])
        if token is not None and not tokenizer.is_control(token):
            return token
    return None


def _refuse(why: str) -> None:
    raise InvalidRequestError(f"thinking_budget cannot be held: {why}", param="thinking_budget")
