"""Log-probabilities in the four parallel lists of the completions API, for a text that comes in pieces."""

from __future__ import annotations

import codecs
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from oxillama.results.completion import TokenLogprob


class LogprobLists:
    """Remembers where the text of one choice is, so that the offsets of its pieces go on.

    is_control: tokens that are no part of the text. end_of_prompt: characters of the echoed prompt, whose tokens are
    `prompt`."""

    def __init__(
        self, is_control: Callable[[int], bool], *, end_of_prompt: int = 0, prompt: Sequence[TokenLogprob] = ()
    ) -> None:
        self._is_control = is_control
        # Bytes of neighbouring tokens may make up one character, which counts where it is complete.
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        # Some vocabularies put a space before a text, which is in the tokens only: so the prompt begins before 0.
        self._offset = end_of_prompt - sum(self._width(entry) for entry in prompt)

    def push(self, entries: Iterable[TokenLogprob]) -> dict[str, Any]:
        lists: dict[str, Any] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        for entry in entries:
            lists["tokens"].append(entry.text)
            lists["token_logprobs"].append(_number(entry.logprob))
            lists["top_logprobs"].append(_top(entry))
            lists["text_offset"].append(max(0, self._offset))
            self._offset += self._width(entry)
        return lists

    def _width(self, entry: TokenLogprob) -> int:
        return 0 if self._is_control(entry.token_id) else len(self._decoder.decode(entry.token_bytes))


def _top(entry: TokenLogprob) -> dict[str, float | None] | None:
    # Of two tokens that look the same the more likely one stays.
    return {other.text: _number(other.logprob) for other in reversed(entry.top)} if entry.top else None


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
