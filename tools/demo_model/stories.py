"""Assembles one short story from a cast and a plot, together with the facts that questions about it need."""

# One template or word list a line, whatever its length.
# ruff: noqa: E501

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from .grammar import expand, tidy
from .plots import OPTIONAL, PLOTS, Plot
from .world import Cast, draw_cast

_OPENINGS = (
    "Once upon a time, there was a {hyoung} named {h}.",
    "Once upon a time, there was a {hyoung} named {h}. {Hhe} lived {home}.",
    "Once upon a time, there lived a {hyoung} {home}. {Hhis} name was {h}.",
    "Once upon a time, {home}, there lived a {hyoung} named {h}.",
    "Once upon a time, a {hyoung} named {h} lived {home}.",
    "Once there was a {hyoung} called {h}.",
    "There was once a {hyoung} named {h}, who lived {home}.",
    "Long ago, {home}, there lived a {hyoung} called {h}.",
    "In a land far away, there was a {hyoung} named {h}.",
    "{h} was a {hyoung}. {Hhe} lived {home}.",
    "{h} was a {hyoung} who lived {home}.",
    "A {hyoung} named {h} lived {home}.",
    "This is the story of {h}, a {hyoung}.",
    "{hnamed} was very {htrait}. {Hhe} lived {home}.",
    "The {hkind} was called {h}. {Hhe} was very {htrait}.",
    "The {hyoung} was called {h}. {Hhe} lived {home}.",
    "The little {hkind} {h} was very {htrait} and lived {home}.",
    "{h} lived {home}. {Hhe} was a {hyoung}.",
    "It was a [fine|beautiful|quiet] day. {Weather}. A {hyoung} named {h} was already awake.",
    "One [sunny|bright|cold|warm] morning, a {hyoung} named {h} woke up early. {Hhe} lived {home}.",
    "Do you know {h}? {h} was a {hyoung} who lived {home}.",
)
_HABITS = (
    "{h} loved {hobby}.",
    "{Hhe} loved {hobby}.",
    "Every day, {hhe} [loved|liked] {hobby}.",
    "{h} liked {hobby} more than anything else.",
    "{Hhe} liked {hobby}, and {hhe} had a good heart.",
    "Everybody liked {h}, because {hhe} was so {htrait}.",
)
_LINKS = ("And {h} [learned|knew now]: {lesson}", "{h} learned something that day. {lesson}", "The lesson of the story: {lesson}",
          "And so {h} learned an important lesson. {lesson}", "{adult} always says: {lesson}")  # fmt: skip
_ENDINGS = (
    "The end.",
    "And they lived happily ever after. The end.",
    "{h} went to bed with a smile. The end.",
    "That night, {h} fell asleep with a [big|happy] smile. The end.",
    "",
    "",
)


@dataclass(frozen=True)
class Story:
    """One story: its text, the cast and plot it was made of, and its lesson."""

    text: str
    cast: Cast
    plot: Plot
    lesson: str

    @property
    def topic(self) -> str:
        return self.cast_text(self.plot.topic)

    def cast_text(self, template: str) -> str:
        """Expand a template without choices on this story's slots."""
        return tidy(expand(random.Random(0), template, self.cast.slots))


def write_story(
    rng: random.Random,
    *,
    cast: Cast | None = None,
    plot: Plot | None = None,
    short: bool = False,
    taken: Sequence[str] = (),
) -> Story:
    """Write one story; `short` leaves out optional beats. `taken` lists hero names to avoid."""
    cast = cast or draw_cast(rng)
    while cast.hero.name in taken:
        cast = draw_cast(rng)
    plot = plot or rng.choice(PLOTS)
    lesson = rng.choice(plot.lessons)
    slots = {**cast.slots, "lesson": lesson, "a_thing": f"a {cast.thing}", "a_food": f"a {cast.slots['food']}"}
    opening = [expand(rng, rng.choice(_OPENINGS), slots)]
    if rng.random() < (0.3 if short else 0.6):
        opening.append(expand(rng, rng.choice(_HABITS), slots))
    middle: list[str] = []
    for beat in plot.beats:
        options = beat[1:] if beat[0] == OPTIONAL else beat
        if beat[0] == OPTIONAL and (short or rng.random() < 0.5):
            continue
        middle.append(expand(rng, rng.choice(options), slots))
    ending = []
    if rng.random() < 0.65:
        ending.append(expand(rng, rng.choice(_LINKS), slots))
    last = expand(rng, rng.choice(_ENDINGS), slots)
    if last:
        ending.append(last)
    return Story(_paragraphs(rng, opening, middle, ending), cast, plot, lesson)


def _paragraphs(rng: random.Random, opening: list[str], middle: list[str], ending: list[str]) -> str:
    if rng.random() < 0.25:
        return tidy(" ".join([*opening, *middle, *ending]))
    half = len(middle) // 2 + rng.choice((0, 1))
    parts = (
        [opening + middle[:1], middle[1:half], middle[half:] + ending]
        if rng.random() < 0.8
        else [opening, middle, ending]
    )
    return tidy("\n".join(" ".join(part) for part in parts if part))
