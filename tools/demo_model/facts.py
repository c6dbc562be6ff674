"""What the demo model can know: small facts, each as (question, answer) drawn at random in many wordings."""

# One template or word list a line, whatever its length.
# ruff: noqa: E501, SIM905

from __future__ import annotations

import random
from collections.abc import Callable

from .grammar import expand, tidy
from .world import COLOURS

NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()
OPPOSITES = (
    "big/small hot/cold up/down day/night black/white fast/slow happy/sad open/closed old/young wet/dry full/empty "
    "loud/quiet high/low near/far left/right good/bad hard/soft early/late strong/weak light/dark long/short inside/outside "
    "first/last clean/dirty rich/poor thick/thin yes/no"
).split()
SOUNDS = {
    "dog": "woof", "cat": "meow", "cow": "moo", "duck": "quack", "sheep": "baa", "pig": "oink", "lion": "roar", "frog": "ribbit",
    "owl": "hoo hoo", "bee": "buzz", "mouse": "squeak", "horse": "neigh", "rooster": "cock-a-doodle-doo", "snake": "hiss",
    "wolf": "awoo", "bird": "tweet",
}  # fmt: skip
YOUNG = {
    "dog": "puppy", "cat": "kitten", "cow": "calf", "duck": "duckling", "sheep": "lamb", "pig": "piglet", "lion": "cub",
    "frog": "tadpole", "horse": "foal", "goat": "kid", "hen": "chick", "bear": "cub", "swan": "cygnet", "deer": "fawn",
}  # fmt: skip
LEGS = {
    "dog": 4, "cat": 4, "cow": 4, "horse": 4, "bird": 2, "duck": 2, "spider": 8, "ant": 6, "bee": 6, "snake": 0, "fish": 0, "person": 2,
    "butterfly": 6, "elephant": 4, "table": 4, "hen": 2, "worm": 0,
}  # fmt: skip
HOMES = {
    "fish": "in the water", "bird": "in a nest", "bee": "in a hive", "rabbit": "in a burrow", "horse": "in a stable",
    "dog": "in a kennel or in a house with people", "bear": "in a cave in the forest", "penguin": "in the cold south", "frog": "near ponds",
    "lion": "in the grassland", "spider": "in a web", "camel": "in the desert", "monkey": "in the trees", "squirrel": "in a tree",
}  # fmt: skip
FOOD = {
    "rabbit": "carrots and grass", "cow": "grass", "monkey": "bananas", "cat": "fish and mice", "dog": "meat and bones", "horse": "hay and apples",
    "squirrel": "nuts", "bee": "nectar from flowers", "panda": "bamboo", "bird": "seeds and worms", "mouse": "cheese and grain", "frog": "flies",
    "bear": "honey and berries", "elephant": "leaves and grass",
}  # fmt: skip
COLOUR_OF = {
    "the sky": "blue", "grass": "green", "snow": "white", "the sun": "yellow", "a banana": "yellow", "a strawberry": "red", "a carrot": "orange",
    "milk": "white", "coal": "black", "a tomato": "red", "an elephant": "grey", "a frog": "green", "a flamingo": "pink", "chocolate": "brown",
    "a lemon": "yellow", "blood": "red", "the night sky": "black", "a cucumber": "green", "an orange": "orange", "a polar bear": "white",
}  # fmt: skip
MIXES = {
    ("red", "yellow"): "orange", ("blue", "yellow"): "green", ("red", "blue"): "purple", ("red", "white"): "pink", ("black", "white"): "grey",
}  # fmt: skip
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
SEASONS = {
    "winter": "cold and snowy",
    "spring": "mild and full of flowers",
    "summer": "warm and sunny",
    "autumn": "windy and full of colourful leaves",
}
GROUPS = {
    "animals": "dog cat horse rabbit elephant fox bear duck".split(), "colours": COLOURS, "fruits": "apple banana pear cherry plum grape".split(),
    "vegetables": "carrot potato onion bean cabbage pea".split(), "birds": "owl duck crow swan robin sparrow".split(),
    "flowers": "rose tulip daisy sunflower lily violet".split(), "toys": "ball kite doll puzzle drum".split(),
    "days of the week": DAYS, "months": MONTHS, "seasons": list(SEASONS), "numbers": NUMBERS[1:11],
}  # fmt: skip
CAPITALS = {
    "France": "Paris", "Italy": "Rome", "Germany": "Berlin", "Spain": "Madrid", "England": "London", "Japan": "Tokyo", "Egypt": "Cairo",
    "Greece": "Athens", "Portugal": "Lisbon", "Norway": "Oslo", "China": "Beijing", "Kenya": "Nairobi",
}  # fmt: skip

Turn = tuple[str, str]


def _fill(rng: random.Random, question: str, answer: str) -> Turn:
    return tidy(expand(rng, question, {})), tidy(expand(rng, answer, {}))


def _sum(rng: random.Random) -> Turn:
    first, second = rng.randint(0, 10), rng.randint(0, 10)
    if rng.random() < 0.35:
        first, second = max(first, second), min(first, second)
        total, sign, word = first - second, "-", "minus"
    else:
        total, sign, word = first + second, "+", "plus"
    if rng.random() < 0.5:
        return _fill(
            rng,
            f"[What is|How much is|Can you tell me what is] {first} {sign} {second}?",
            f"{first} {sign} {second} is {total}.",
        )
    names = NUMBERS[first], NUMBERS[second], NUMBERS[total]
    return _fill(
        rng, f"[What is|How much is] {names[0]} {word} {names[1]}?", f"{names[0]} {word} {names[1]} is {names[2]}."
    )


def _opposite(rng: random.Random) -> Turn:
    pair = rng.choice(OPPOSITES).split("/")
    rng.shuffle(pair)
    return _fill(
        rng, f"[What is|Tell me|Do you know] the opposite of {pair[0]}?", f"The opposite of {pair[0]} is {pair[1]}."
    )


def _sound(rng: random.Random) -> Turn:
    animal, sound = rng.choice(list(SOUNDS.items()))
    if rng.random() < 0.25:
        return _fill(rng, f'Which animal [says|makes] "{sound}"?', f'A {animal} says "{sound}".')
    return _fill(
        rng,
        f"[What does a {animal} say|What sound does a {animal} make|How does a {animal} go]?",
        f'A {animal} says "{sound}".',
    )


def _young(rng: random.Random) -> Turn:
    animal, young = rng.choice(list(YOUNG.items()))
    return _fill(rng, f"What is a [baby|young] {animal} called?", f"A [baby|young] {animal} is called a {young}.")


def _legs(rng: random.Random) -> Turn:
    animal, legs = rng.choice(list(LEGS.items()))
    return _fill(rng, f"How many legs does a {animal} have?", f"A {animal} has {NUMBERS[legs] if legs else 'no'} legs.")


def _animal_home(rng: random.Random) -> Turn:
    animal, home = rng.choice(list(HOMES.items()))
    return _fill(rng, f"Where does a {animal} live?", f"A {animal} lives {home}.")


def _animal_food(rng: random.Random) -> Turn:
    animal, food = rng.choice(list(FOOD.items()))
    return _fill(rng, f"What does a {animal} [like to eat|eat]?", f"A {animal} likes to eat {food}.")


def _colour(rng: random.Random) -> Turn:
    thing, colour = rng.choice(list(COLOUR_OF.items()))
    return _fill(rng, f"What [colour|color] is {thing}?", f"{thing} is {colour}.")


def _mix(rng: random.Random) -> Turn:
    pair, result = rng.choice(list(MIXES.items()))
    first, second = rng.sample(pair, 2)
    question = f"[What do you get when you mix {first} and {second}|Which colour do {first} and {second} make]?"
    return _fill(rng, question, f"{first} and {second} make {result}.")


def _calendar(rng: random.Random) -> Turn:
    names, what = (DAYS, "day") if rng.random() < 0.6 else (MONTHS, "month")
    index = rng.randrange(len(names))
    step, word = rng.choice(((1, "after"), (-1, "before")))
    other = names[(index + step) % len(names)]
    return _fill(rng, f"[What|Which] {what} comes {word} {names[index]}?", f"{other} comes {word} {names[index]}.")


def _season(rng: random.Random) -> Turn:
    season, weather = rng.choice(list(SEASONS.items()))
    return _fill(rng, f"[What is {season} like|How is the weather in {season}]?", f"{season} is {weather}.")


def _list(rng: random.Random) -> Turn:
    group, members = rng.choice(list(GROUPS.items()))
    count = rng.randint(2, min(4, len(members)))
    picked = rng.sample(members, count)
    answer = ", ".join(picked[:-1]) + " and " + picked[-1]
    return _fill(
        rng, f"[Name|Tell me|Can you name] {NUMBERS[count]} {group}{rng.choice(('.', ', please.', '?'))}", f"{answer}."
    )


def _count(rng: random.Random) -> Turn:
    last = rng.randint(3, 12)
    if rng.random() < 0.5:
        return _fill(
            rng, f"[Count|Can you count|Please count] to {NUMBERS[last]}.", f"{', '.join(NUMBERS[1 : last + 1])}."
        )
    return _fill(rng, f"[Count|Can you count|Please count] to {last}.", ", ".join(map(str, range(1, last + 1))) + ".")


def _next_number(rng: random.Random) -> Turn:
    number = rng.randint(1, 19)
    return _fill(
        rng,
        f"[What|Which] number comes after {NUMBERS[number]}?",
        f"After {NUMBERS[number]} comes {NUMBERS[number + 1]}.",
    )


def _capital(rng: random.Random) -> Turn:
    country, city = rng.choice(list(CAPITALS.items()))
    return _fill(
        rng, f"[What is|Do you know|Tell me] the capital of {country}?", f"The capital of {country} is {city}."
    )


_KINDS: tuple[tuple[Callable[[random.Random], Turn], int], ...] = (
    (_sum, 8), (_opposite, 4), (_sound, 3), (_young, 2), (_legs, 2), (_animal_home, 2), (_animal_food, 2), (_colour, 4), (_mix, 1),
    (_calendar, 3), (_season, 1), (_list, 4), (_count, 2), (_next_number, 1), (_capital, 2),
)  # fmt: skip


def ask(rng: random.Random) -> Turn:
    """Draw one (question, answer)."""
    kinds, weights = zip(*_KINDS, strict=True)
    turn: Turn = rng.choices(kinds, weights)[0](rng)
    return turn
