"""The small world of the demo stories: its names, animals, places and things, and how a cast is drawn from them."""

# One template or word list a line, whatever its length.
# ruff: noqa: E501, SIM905

from __future__ import annotations

import random
from dataclasses import dataclass, field

GIRLS = (
    "Lily Mia Anna Rosie Ella Nora Lucy Zoe Ruby Clara Ivy Maya Sara Emma Hana Tess Wendy Olive Daisy Nina Amy Leila"
).split()
BOYS = (
    "Tom Ben Max Leo Sam Finn Jack Oscar Theo Noah Eli Hugo Omar Luca Adam Felix Milo Peter Ravi Toby Jonas Kofi"
).split()
PETS = (
    "Rusty Pip Coco Biscuit Pepper Snowy Button Hazel Mossy Patch Honey Bramble Clover Nutmeg Poppy Dusty Pebble "
    "Waffles Tansy Fern"
).split()
SPECIES = (
    "fox rabbit bear mouse cat dog duck frog squirrel hedgehog owl turtle bird pig lamb goat horse elephant lion "
    "monkey penguin kitten puppy deer dragon robot bee"
).split()
COLOURS = "red blue green yellow orange purple pink white brown golden silver".split()
TRAITS = "kind brave shy curious cheerful clever gentle quiet playful friendly happy careful funny".split()

HOBBIES = (
    "to sing songs|to read books|to paint pictures|to climb trees|to look at the stars|to dance in the rain|"
    "to collect shiny stones|to help others|to ask questions|to tell jokes|to watch the clouds|to build little boats|"
    "to pick flowers|to play in the sun|to count the birds|to draw maps|to explore|to make new friends"
).split("|")

THINGS = (
    "ball kite hat boat drum bell book lamp bag cup scarf key box ring balloon toy whistle coat basket blanket lantern "
    "button feather pencil clock umbrella spoon"
).split()
FOODS = "apple cake pie cookie pear carrot pancake sandwich bun plum".split()
FLOWERS = "rose sunflower daisy tulip pumpkin tomato bean strawberry".split()

# Where: (preposition phrase, bare place with article, what one sees there).
PLACES = (
    ("in the forest", "the forest", "the tall trees"),
    ("at the beach", "the beach", "the big waves"),
    ("by the river", "the river", "the little fish in the water"),
    ("in the park", "the park", "the green grass"),
    ("in the garden", "the garden", "the bright flowers"),
    ("on the hill", "the hill", "the village far below"),
    ("on the farm", "the farm", "the cows and the hens"),
    ("by the lake", "the lake", "the ducks on the water"),
    ("in the meadow", "the meadow", "the butterflies"),
    ("near the old mill", "the old mill", "the slow turning wheel"),
    ("in the market", "the market", "the fruit and the bread"),
    ("in the valley", "the valley", "the long stone bridge"),
)
HOMES = (
    "in a small village|in a little house by the sea|in a cosy house near the forest|in a quiet town|"
    "in a tiny house on a hill|on a green farm|near a big blue lake|at the edge of a deep forest|"
    "in a sunny valley|next to an old stone bridge"
).split("|")
WEATHER = (
    "The sun was shining|The sky was blue|It was a warm and sunny day|A soft wind was blowing|It was a bright morning|"
    "The birds were singing|It was a cool autumn day|White clouds moved slowly across the sky|The air smelled of flowers"
).split("|")
ADULTS = (
    ("Grandma", "she"), ("Grandpa", "he"), ("Mum", "she"), ("Dad", "he"), ("Aunt Rose", "she"), ("Uncle Joe", "he"),
)  # fmt: skip
HELPERS = (
    ("a wise old owl", "owl"), ("an old turtle", "turtle"), ("a tall grey heron", "heron"), ("a small brown mole", "mole"),
    ("a friendly farmer", "farmer"), ("a kind baker", "baker"), ("an old fisherman", "fisherman"),
    ("a big strong bear", "bear"), ("a busy little ant", "ant"), ("a clever crow", "crow"), ("a gentle giant", "giant"),
    ("a white horse", "horse"),
)  # fmt: skip

_SYLLABLES = "ba be bo da di do fa fi ga go ka ki ko la le li lo ma mi mo na ni no pa pe po ra ri ro sa si ta ti to va ve za zo zu".split()
_PRONOUNS = {
    "he": ("he", "him", "his", "himself"),
    "she": ("she", "her", "her", "herself"),
}


@dataclass(frozen=True)
class Character:
    """Somebody of a story. `kind` is "girl", "boy" or a species; `subject` is "he" or "she"."""

    name: str
    kind: str
    subject: str
    trait: str

    @property
    def young(self) -> str:
        """The kind with the words of a story's first sentence, without an article."""
        return f"{self.trait} little {self.kind}"

    def slots(self, prefix: str) -> dict[str, str]:
        """Template slots: `h` (name), `hthe`, `hkind`, `hyoung`, `hhe`, `hhim`, `hhis`, `hself` for prefix "h"."""
        subject, object_, possessive, reflexive = _PRONOUNS[self.subject]
        return {
            prefix: self.name,
            f"{prefix}the": f"the {self.kind}",
            f"{prefix}named": self.name if self.kind in ("girl", "boy") else f"{self.name} the {self.kind}",
            f"{prefix}kind": self.kind,
            f"{prefix}young": self.young,
            f"{prefix}trait": self.trait,
            f"{prefix}he": subject,
            f"{prefix}him": object_,
            f"{prefix}his": possessive,
            f"{prefix}self": reflexive,
        }


@dataclass
class Cast:
    """All that the slots of one story are filled with."""

    hero: Character
    friend: Character
    colour: str
    thing: str
    place: tuple[str, str, str]
    slots: dict[str, str] = field(default_factory=dict)


def invented_name(rng: random.Random) -> str:
    """A name that no list has, so that the model must learn to copy names rather than to know them."""
    word = "".join(rng.choice(_SYLLABLES) for _ in range(rng.choice((2, 2, 3))))
    return (word + rng.choice(("", "", "n", "l", "x", "m"))).capitalize()


def draw_character(rng: random.Random, *, taken: str = "", kind: str = "") -> Character:
    """Draw a character whose name differs from `taken`; `kind` fixes a species, "girl" or "boy"."""
    kind = kind or (rng.choice(("girl", "boy")) if rng.random() < 0.5 else rng.choice(SPECIES))
    subject = {"girl": "she", "boy": "he"}.get(kind) or rng.choice(("he", "she"))
    while True:
        pool = {"girl": GIRLS, "boy": BOYS}.get(kind, PETS)
        if kind not in ("girl", "boy") and rng.random() < 0.25:
            pool = GIRLS if subject == "she" else BOYS
        name = invented_name(rng) if rng.random() < 0.12 else rng.choice(pool)
        if name != taken:
            return Character(name, kind, subject, rng.choice(TRAITS))


def draw_cast(rng: random.Random, *, kind: str = "", thing: str = "", colour: str = "") -> Cast:
    """Draw hero, friend, helper, adult, place and things of one story, all independent of each other."""
    hero = draw_character(rng, kind=kind)
    friend = draw_character(rng, taken=hero.name)
    while friend.kind == hero.kind:
        friend = draw_character(rng, taken=hero.name)
    colour = colour or rng.choice(COLOURS)
    thing = thing or rng.choice(THINGS)
    place = rng.choice(PLACES)
    adult, adult_he = rng.choice(ADULTS)
    helper, helper_short = rng.choice([pair for pair in HELPERS if pair[1] not in (hero.kind, friend.kind)])
    other_colour = rng.choice([other for other in COLOURS if other != colour])
    slots = {
        **hero.slots("h"),
        **friend.slots("f"),
        "adult": adult,
        "adult_he": adult_he,
        "adult_his": _PRONOUNS[adult_he][2],
        "helper": helper,
        "thelper": f"the {helper_short}",
        "colour": colour,
        "colour2": other_colour,
        "thing": thing,
        "cthing": f"{colour} {thing}",
        "food": rng.choice(FOODS),
        "plant": rng.choice(FLOWERS),
        "at_place": place[0],
        "place": place[1],
        "sight": place[2],
        "home": rng.choice(HOMES),
        "weather": rng.choice(WEATHER),
        "hobby": rng.choice(HOBBIES),
    }
    return Cast(hero, friend, colour, thing, place, slots)
