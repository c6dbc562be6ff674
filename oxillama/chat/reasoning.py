"""What a model thinks before it answers, split from the answer as both are written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class ThinkTags:
    """What opens and closes a model's thinking."""

    opening: str
    closing: str


KNOWN_TAGS = (
    ThinkTags("<think>", "</think>"),
    ThinkTags("[THINK]", "[/THINK]"),
    ThinkTags("<seed:think>", "</seed:think>"),
)


def find_tags(template: str, is_token: Callable[[str], bool]) -> ThinkTags | None:
    """The tags that a template writes or reads; else those that are tokens of the vocabulary."""
    for tags in KNOWN_TAGS:
        if tags.closing in template:
            return tags
    return next((tags for tags in KNOWN_TAGS if is_token(tags.opening) and is_token(tags.closing)), None)


def opens_thinking(prompt: str, tags: ThinkTags) -> bool:
    """The prompt itself opens the thinking that the model goes on with."""
    return prompt.rstrip().endswith(tags.opening)


class ReasoningSplitter:
    """Splits a text into reasoning and content, however it is cut into pieces.

    Thinking comes first or not at all: tags in the middle of an answer are part of the answer. White space around the
    reasoning belongs to nobody. Without tags everything is content."""

    def __init__(self, tags: ThinkTags | None, *, thinking: bool = False) -> None:
        self._tags = tags
        # None: not known yet, the text so far may be the beginning of the opening tag.
        self._thinking: bool | None = thinking if tags is None or thinking else None
        self._opened_by_prompt = thinking
        self._held = ""  # may be the beginning of a tag
        self._blanks: list[str] = []  # white space that belongs to nobody if a tag follows
        self._started = False  # something of the present part has been handed out
        self._after_thinking = False

    @property
    def is_thinking(self) -> bool:
        return self._thinking is True

    @property
    def has_thought(self) -> bool:
        """The thinking has been closed."""
        return self._after_thinking

    def push(self, text: str) -> tuple[str, str]:
        """The reasoning and the content that have become certain by this piece."""
        if self._tags is None:
            return "", text
        self._held += text
        reasoning = ""
        if self._thinking is None and not self._settle(self._tags.opening):
            return "", ""
        if self._thinking:
            reasoning = self._push_reasoning(self._tags)
        return reasoning, "" if self._thinking else self._push_content()

    def finish(self) -> tuple[str, str]:
        """What is left when no more text comes. White space that ends the reasoning is dropped."""
        rest, self._held = self._with_blanks(self._held), ""
        if self._thinking:
            return (rest.rstrip() if self._started else rest.strip()), ""
        return "", "" if self._after_thinking and not self._started else rest

    def _with_blanks(self, text: str) -> str:
        self._blanks.append(text)
        whole = "".join(self._blanks)
        self._blanks.clear()
        return whole

    def _settle(self, opening: str) -> bool:
        """Whether it is known by now if the text begins with thinking."""
        start = self._held.lstrip()
        self._blanks.append(self._held[: len(self._held) - len(start)])
        self._held = start
        if start.startswith(opening):
            self._blanks.clear()
            self._held = start[len(opening) :]
            self._thinking = True
        elif not opening.startswith(start):
            self._held = self._with_blanks(start)
            self._thinking = False
        return self._thinking is not None

    def _push_reasoning(self, tags: ThinkTags) -> str:
        if not self._started:
            self._held = self._held.lstrip()
            if self._opened_by_prompt and tags.opening.startswith(self._held[: len(tags.opening)]):
                # Some models open again what the prompt has opened.
                if len(self._held) < len(tags.opening):
                    return ""
                self._held = self._held[len(tags.opening) :].lstrip()
                self._opened_by_prompt = False
        before, found, after = self._held.partition(tags.closing)
        said = before if found else before[: len(before) - partial_end(before, tags.closing)]
        sure = said.rstrip()
        self._held = before[len(said) :]
        blanks = said[len(sure) :]
        if sure:
            self._started = True
            sure = self._with_blanks(sure)
        if found:
            self._blanks.clear()
            self._held, self._thinking, self._after_thinking, self._started = after, False, True, False
        elif blanks:
            self._blanks.append(blanks)
        return sure

    def _push_content(self) -> str:
        content = self._held.lstrip() if self._after_thinking and not self._started else self._held
        self._started = self._started or bool(content)
        self._held = ""
        return content


def partial_end(text: str, tag: str) -> int:
    """Length of the longest end of the text that the tag begins with."""
    for size in range(min(len(text), len(tag) - 1), 0, -1):
        if text.endswith(tag[:size]):
            return size
    return 0
