"""Writes chats: greetings, stories on request and questions about them, small facts, and an honest "I do not know"."""

# One template or word list a line, whatever its length.
# ruff: noqa: E501, SIM905

from __future__ import annotations

import random
from collections.abc import Callable

from .facts import ask
from .grammar import expand, tidy
from .stories import Story, write_story
from .world import BOYS, COLOURS, GIRLS, SPECIES, THINGS, TRAITS, draw_cast, draw_character, invented_name

NAME = "Oxi"
Message = tuple[str, str]

_SYSTEMS = (
    "You are a helpful assistant.",
    "You are a friendly storyteller.",
    "You are a kind assistant who tells short stories.",
    "Answer in simple words.",
    "You are a small and friendly language model.",
)
_HELLO = (
    ("[Hi|Hello|Hey|Hello there|Good morning|Good evening|Hi there][!|.|]", "[Hello|Hi|Hi there]! [How can I help you?|I am {me}. What shall we do?|It is nice to meet you. Would you like a story?]"),
    ("[How are you|How are you today|How do you do|How is it going]?", "I am [fine|very well], thank you. [How are you?|And you?|Shall I tell you a story?]"),
    ("[Hi|Hello|Hey|Good morning], [my name is|I am] {user}[.|!]", "[Hello|Hi], {user}! It is nice to meet you. I am {me}."),
)  # fmt: skip
_SELF = (
    ("[Who are you|What is your name|What are you called|Tell me your name|Who am I talking to]?", "I am {me}, a very small language model. [I like to tell short stories.|I can tell you a story.]"),
    ("[What can you do|What do you know|Can you help me|How can you help me|What are you good at|Help]?", "I can tell short stories, and I know a little about animals, colours, numbers and opposites."),
    ("[What are you|Are you a human|Are you a robot|Are you a person|Are you real]?", "I am a very small language model. I was made to tell short stories."),
    ("[Who made you|Where do you come from|How were you made]?", "I was trained from scratch on little stories that a program wrote."),
    ("[How old are you|When is your birthday|When were you born]?", "I do not have a birthday. I am only a small language model."),
    ("[How big are you|How small are you|How many parameters do you have]?", "I am very small. I have only about three million parameters."),
    ("[What is your favourite colour|Which colour do you like best|What colour do you like]?", "I like {colour}. [What is your favourite colour?|It makes me happy.]"),
    ("[What is your favourite animal|Which animal do you like best|Do you like animals]?", "I like the {animal} best. Would you like a story about a {animal}?"),
    ("[Do you like stories|What do you like|What do you like to do]?", "I love stories! [Shall I tell you one?|Would you like to hear one?]"),
    ("[Tell me a joke.|Do you know a joke?|Make me laugh.]", "[Why did the duck cross the road? To get to the pond!|What do you call a bear with no teeth? A gummy bear!|Why is the sea so friendly? Because it waves!]"),
    ("[Can you sing?|Sing a song.|Sing me a song.]", "La la la, the sun is high, the {colour} birds fly in the sky!"),
    ("I am [sad|lonely|tired|scared|afraid|not happy][.| today.|]", "I am sorry to hear that. [A story can help. Shall I tell you one?|I hope that you feel better soon.|You are not alone. I am here.]"),
    ("I am [happy|glad|so happy|excited][.| today.|!]", "That is wonderful! [I am happy for you.|I am happy too.]"),
    ("[I am bored.|I do not know what to do.|What shall we do?]", "[We could read a story together.|You could go outside, draw a picture or listen to a story.] Would you like a story?"),
)  # fmt: skip
_BYE = (
    ("[Thank you|Thanks|Thank you very much|Thanks a lot][!|.|]", "You are welcome[!|. Have a nice day!|. I am happy to help.]"),
    ("[Bye|Goodbye|See you|Good night|Bye bye|I have to go now][!|.|]", "[Goodbye|Bye]! [Have a nice day.|See you soon.|Come back soon.]"),
    ("[That was nice|That was a nice story|I like your story|Great|Very good|Well done|Nice][!|.|]", "[Thank you|I am glad that you like it|I am happy that you like it]! [Would you like another story?|Shall I tell you another one?]"),
)  # fmt: skip
_PRAISE_TAGS = ("", "", "", " please", ", please")

# Words that only ever occur in questions without an answer.
_UNKNOWN_NOUNS = (
    "president queen king parliament economy stock market car engine computer phone internet football team film actor singer medicine doctor virus "
    "atom electron galaxy planet rocket law tax bank war history book science chemistry physics mathematics language python code program "
    "database server network algorithm function variable recipe pasta pizza wine restaurant hotel airport train ticket password news weather "
    "temperature password mountain ocean city country"
).split()
_UNKNOWN_NAMES = "Einstein Napoleon Shakespeare Mozart Newton Caesar Amazon Google Mars Jupiter Brazil Canada Texas Linux Bitcoin Tesla".split()
_UNKNOWN = (
    "[Explain|Describe|Tell me about] [the {noun}|{name}|how {a_noun} works].",
    "[Who is|Who was|What is] {name}?",
    "[Who invented|Who discovered|Where can I buy|How do I repair|How do I make|How does one build] {a_noun}?",
    "[How does {a_noun} work|What is {a_noun}|Why do we need {a_noun}|How much does {a_noun} cost]?",
    "What is the [best|biggest|oldest|fastest|cheapest] {noun} [in the world|in {name}|of all]?",
    "[Write|Can you write] [a {noun}|a program|an email|a letter|a poem about {noun}|code for {a_noun}][.|?]",
    "[Translate|Summarise] [this text|the {noun}|this {noun}][ into French|].",
    "[When did|Why did|How did] {name} [win|lose|begin|end|change the {noun}]?",
    "[What happened|What will happen] [in {year}|tomorrow|to {name}|to the {noun}]?",
    "What time is it[ in {name}|]?",
    "What do you think about [the {noun}|{name}]?",
    "What is the [meaning|price|name|age|history] of [the {noun}|{name}|life]?",
)  # fmt: skip
_DONT_KNOW = (
    "I am sorry, I do not know that. I am only a small story model.",
    "I do not know that. But I can tell you a story.",
    "I am too small to know that. Would you like a story?",
)


def _say(rng: random.Random, pair: tuple[str, str], slots: dict[str, str]) -> list[Message]:
    question, answer = pair
    asked = tidy(expand(rng, question, slots))
    if rng.random() < 0.15:
        asked = asked.lower().rstrip("?.!")
    return [("user", asked), ("assistant", tidy(expand(rng, answer, slots)))]


def _slots(rng: random.Random, me: str) -> dict[str, str]:
    user = invented_name(rng) if rng.random() < 0.3 else rng.choice(GIRLS + BOYS)
    return {"me": me, "user": user, "colour": rng.choice(COLOURS), "animal": rng.choice(SPECIES)}


def unknown(rng: random.Random) -> list[Message]:
    """A question outside the small world, and the honest answer."""
    noun = rng.choice(_UNKNOWN_NOUNS) if rng.random() < 0.85 else invented_name(rng).lower()
    name = rng.choice(_UNKNOWN_NAMES) if rng.random() < 0.7 else invented_name(rng)
    slots = {"noun": noun, "a_noun": f"a {noun}", "name": name, "year": str(rng.randint(1200, 2030))}
    return _say(rng, (rng.choice(_UNKNOWN), rng.choice(_DONT_KNOW)), slots)


def request_story(rng: random.Random) -> tuple[str, Story]:
    """A user's wish for a story, and a story that fulfils it."""
    verb = "[Tell me|Write|Can you tell me|Please tell me|Tell|Write me|I want|I would like|Could you tell me]"
    way = rng.random()
    if way < 0.2:
        story = write_story(rng, short=True)
        wish = f"{verb} [a story|a short story|a little story|one of your stories|a bedtime story]"
    elif way < 0.5:
        kind = (
            rng.choice((*SPECIES, "girl", "boy", "girl", "boy")) if rng.random() < 0.88 else invented_name(rng).lower()
        )
        story = write_story(rng, cast=draw_cast(rng, kind=kind), short=True)
        hero = story.cast.hero
        who = rng.choice(
            (
                f"a {kind}",
                f"a {kind}",
                f"a little {kind}",
                f"a {hero.trait} {kind}",
                f"a {kind} named {hero.name}",
                f"{hero.name}",
            )
        )
        wish = f"{verb} [a story|a short story] about {who}"
    elif way < 0.65:
        while True:
            thing = rng.choice(THINGS) if rng.random() < 0.88 else invented_name(rng).lower()
            story = write_story(rng, cast=draw_cast(rng, thing=thing), short=True)
            if "thing" in story.plot.uses and story.cast.thing in story.text:
                break
        wish = (
            f"{verb} [a story|a short story] about a {story.cast.colour} {story.cast.thing}"
            if rng.random() < 0.5
            else f"{verb} a story about a {story.cast.thing}"
        )
    elif way < 0.85:
        story = write_story(rng, short=True)
        wish = f"{verb} [a story|a short story] about {story.topic}"
    else:
        while True:
            story = write_story(rng, short=True)
            if "friend" in story.plot.uses and story.cast.friend.name in story.text:
                break
        hero, friend = story.cast.hero, story.cast.friend
        both = f"{hero.name} and {friend.name}" if rng.random() < 0.4 else f"a {hero.kind} and a {friend.kind}"
        wish = f"{verb} [a story|a short story] about {both}"
    text = tidy(expand(rng, wish, {})) + rng.choice((".", ".", ".", "!", "?", "", ", please."))
    return (text.lower() if rng.random() < 0.1 else text), story


def _about_story(rng: random.Random, story: Story) -> list[Message]:
    hero, friend = story.cast.hero, story.cast.friend
    choices: list[tuple[str, str]] = [
        (
            f"[What was the name of the {hero.kind}|What was the {hero.kind} called|Who is the story about]?",
            f"The {hero.kind} was called {hero.name}.",
        ),
        (f"[What is the lesson|What did {hero.name} learn|What can we learn from it]?", story.lesson),
        (
            f"What kind of {'child' if hero.kind in ('girl', 'boy') else 'animal'} was {hero.name}?",
            f"{hero.name} was a {hero.kind}.",
        ),
    ]
    if "friend" in story.plot.uses and friend.name in story.text:
        choices.append((f"[Who was {friend.name}|What was {friend.name}]?", f"{friend.name} was a {friend.kind}."))
    if "thing" in story.plot.uses and f"{story.cast.colour} {story.cast.thing}" in story.text:
        choices.append(
            (f"What [colour|color] was the {story.cast.thing}?", f"The {story.cast.thing} was {story.cast.colour}.")
        )
    pair = rng.choice(choices)
    return [("user", tidy(expand(rng, pair[0], {}))), ("assistant", tidy(pair[1]))]


def _story_part(rng: random.Random) -> list[Message]:
    wish, story = request_story(rng)
    messages = [("user", wish), ("assistant", story.text)]
    if rng.random() < 0.45:
        messages += _about_story(rng, story)
        if rng.random() < 0.3:
            messages += _about_story(rng, story)
    elif rng.random() < 0.2:
        again = "[Another one|One more|Tell me another one|Another story|More][, please.|!|.|]"
        second = write_story(rng, short=True, taken=(story.cast.hero.name,))
        messages += [("user", tidy(expand(rng, again, {}))), ("assistant", second.text)]
    return messages


def _memory(rng: random.Random, slots: dict[str, str]) -> list[Message]:
    first = _say(rng, _HELLO[2], slots)
    first[0] = ("user", tidy(expand(rng, "[Hi, my|Hello, my|My] name is {user}.", slots)))
    return [
        *first,
        ("user", rng.choice(("What is my name?", "Do you know my name?", "Who am I?"))),
        ("assistant", f"Your name is {slots['user']}."),
    ]


def _describe(rng: random.Random) -> list[Message]:
    who = draw_character(rng)
    question = rng.choice((f"Give me a name for a {who.kind}.", f"What is a good name for a {who.kind}?"))
    return [
        ("user", tidy(question)),
        ("assistant", tidy(f"{who.name} is a good name for a {rng.choice(TRAITS)} {who.kind}.")),
    ]


def _yes_story(rng: random.Random, slots: dict[str, str]) -> list[Message]:
    offer = "[Hello! Would you like a story?|I love stories! Shall I tell you one?]"
    opening = [
        ("user", rng.choice(("Hello!", "Hi", "Do you like stories?", "I am bored."))),
        ("assistant", expand(rng, offer, slots)),
    ]
    yes = rng.choice(("Yes", "Yes, please.", "Yes please!", "Sure.", "Okay", "Of course!"))
    return [*opening, ("user", yes), ("assistant", write_story(rng, short=True).text)]


def write_chat(rng: random.Random) -> list[Message]:
    """Write one chat: messages as (role, text), an optional system message first, then user and assistant in turns."""
    messages: list[Message] = []
    me = NAME
    if rng.random() < 0.25:
        if rng.random() < 0.35:
            me = invented_name(rng) if rng.random() < 0.6 else rng.choice(GIRLS + BOYS)
            messages.append(("system", f"{rng.choice(('You are', 'Your name is'))} {me}."))
        else:
            messages.append(("system", rng.choice(_SYSTEMS)))
    slots = _slots(rng, me)
    parts: tuple[tuple[Callable[[], list[Message]], int], ...] = (
        (lambda: _story_part(rng), 9),
        (lambda: _many(rng, lambda: _facts(rng)), 6),
        (lambda: _say(rng, rng.choice(_HELLO), slots), 2),
        (lambda: _many(rng, lambda: _say(rng, rng.choice(_SELF), slots)), 4),
        (lambda: _many(rng, lambda: unknown(rng)), 3),
        (lambda: _memory(rng, slots), 1),
        (lambda: _describe(rng), 1),
        (lambda: _yes_story(rng, slots), 1),
    )
    makers, weights = zip(*parts, strict=True)
    if rng.random() < 0.25:
        messages += _say(rng, rng.choice(_HELLO), slots)
    for _ in range(rng.choice((1, 1, 1, 2, 2))):
        messages += rng.choices(makers, weights)[0]()
    if rng.random() < 0.3:
        messages += _say(rng, rng.choice(_BYE), slots)
    return messages


def _many(rng: random.Random, make: Callable[[], list[Message]]) -> list[Message]:
    return [message for _ in range(rng.choice((1, 2, 3, 4))) for message in make()]


def _facts(rng: random.Random) -> list[Message]:
    question, answer = ask(rng)
    if rng.random() < 0.12:
        question = question.lower()
    return [("user", question), ("assistant", answer)]
