"""Asks a model that writes to choose: each question becomes a prompt that ends where the answer would begin, and the
probabilities of the answers are read off there. Nothing is generated.

The prompts of one call begin alike, with what is to be judged, so the prefix cache computes that once: the first
question goes ahead, the others follow together. What is read are log-probabilities of raw logits, which do not depend
on what else the engine does."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from oxillama.chat.conversation import Conversation, Rendering
from oxillama.chat.messages import AnyMessage
from oxillama.decisions import Choice, Decision, Question, Score, YesNo
from oxillama.errors import ContextLengthError, InvalidRequestError, UnsupportedModelError
from oxillama.requests.forcing import forced, single_tokens
from oxillama.results.completion import Completion
from oxillama.sampling.params import SamplingParams
from oxillama.tokenizer import Tokenizer
from oxillama.values import refused

if TYPE_CHECKING:
    from oxillama.engine import Engine

Scoring: TypeAlias = Literal["labels", "sequence"]
Matter: TypeAlias = str | Iterable[AnyMessage]

LABELS = ascii_uppercase + ascii_lowercase
INSTRUCTION = "Answer with the letter of one of these, and nothing else."
# What a step tells of; labels that are less likely are asked for by name.
ALTERNATIVES = 20
# Of one call: every order of 52 options for 256 questions would be hours of work that nobody meant.
MAX_PROMPTS = 4096


@dataclass(frozen=True)
class _Ask:
    """One prompt: which question it belongs to, and which of its options each answer stands for."""

    question: int
    ids: list[int]
    answers: list[list[int]]  # tokens
    options: list[int]


class Deciding:
    """The prompts of one call, and what their log-probabilities say."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        conversation: Conversation | None,
        state: Matter,
        questions: Mapping[str, Question],
        *,
        scoring: Scoring = "labels",
        rotations: bool = False,
        limit: int,
        max_prompts: int = MAX_PROMPTS,
    ) -> None:
        if scoring not in ("labels", "sequence"):
            raise refused("scoring", "'labels' or 'sequence'", scoring)
        if not isinstance(rotations, bool):
            raise refused("rotations", "True or False", rotations)
        if not isinstance(questions, Mapping) or not questions:
            raise refused("questions", "a mapping from names to Choice, YesNo or Score", questions)
        for key, question in questions.items():
            if not isinstance(key, str) or not key:
                raise refused("questions", "a mapping from texts that are not empty", key)
            if not isinstance(question, Choice | YesNo | Score):
                raise refused(f"questions.{key}", "a Choice, YesNo or Score", question)
        self.questions: dict[str, Question] = dict(questions)
        self.scoring = scoring
        # Before the first of them is made.
        n_prompts = sum(self._n_prompts(question, rotations) for question in self.questions.values())
        if n_prompts > max_prompts:
            raise InvalidRequestError(
                f"the questions become {n_prompts} prompts, at most {max_prompts} are allowed: "
                f"ask fewer{', or without rotations' if rotations else ''}",
                param="questions",
            )
        self._prompts = _Prompts(tokenizer, conversation, state, limit)
        self.asks: list[_Ask] = [
            ask
            for index, (key, question) in enumerate(self.questions.items())
            for ask in self._asks(index, question.question or key, question, rotations)
        ]

    def _n_prompts(self, question: Question, rotations: bool) -> int:
        return len(question.listed()) if rotations or self.scoring == "sequence" else 1

    def _asks(self, index: int, text: str, question: Question, rotations: bool) -> list[_Ask]:
        listed = list(question.listed().items())
        names = [name for name, _ in listed]
        if self.scoring == "sequence":
            prompt = self._prompts.ids(_with_meanings(text, listed))
            answers = [self._prompts.answer(name) for name in names]
            return [_Ask(index, prompt, answers, list(range(len(names))))]
        labels = self._prompts.labels(len(names))
        asks = []
        for first in range(len(names) if rotations else 1):
            order = [(first + step) % len(names) for step in range(len(names))]
            lines = [f"{LABELS[place]}. {_line(*listed[option])}" for place, option in enumerate(order)]
            prompt = self._prompts.ids("\n".join([text, *lines, INSTRUCTION]))
            asks.append(_Ask(index, prompt, [[label] for label in labels], order))
        return asks

    def decisions(self, scores: Sequence[Sequence[float]]) -> dict[str, Decision]:
        """scores: of each ask, the log-probability of each answer."""
        sums = [[0.0] * len(question.listed()) for question in self.questions.values()]
        counts = [0] * len(sums)
        for ask, logprobs in zip(self.asks, scores, strict=True):
            counts[ask.question] += 1
            for option, probability in zip(ask.options, _softmax(logprobs), strict=True):
                sums[ask.question][option] += probability
        return {
            key: question.decision([total / counts[index] for total in sums[index]])
            for index, (key, question) in enumerate(self.questions.items())
        }

    @property
    def num_tokens(self) -> int:
        """Of all prompts."""
        return sum(len(ask.ids) for ask in self.asks)


class _Prompts:
    """Prompts that begin with the state and end where an answer would begin."""

    def __init__(self, tokenizer: Tokenizer, conversation: Conversation | None, state: Matter, limit: int) -> None:
        self._tokenizer = tokenizer
        self._limit = limit
        self._chat = conversation if conversation is not None and conversation.template is not None else None
        if isinstance(state, str):
            self._messages: list[dict[str, Any]] = [{"role": "user", "content": state}]
        else:
            if self._chat is None:
                raise UnsupportedModelError("the model has no chat template, so it cannot judge messages; give a text")
            self._messages = [_as_dict(message) for message in state]

    def ids(self, question: str) -> list[int]:
        try:
            ids = self._ids(question)
        except InvalidRequestError as error:
            if error.param in ("prompt", "messages", "text"):
                error.param = "state"
            raise
        if len(ids) > self._limit:
            raise ContextLengthError(
                f"the state has {len(ids)} tokens with a question, at most {self._limit} can be read together",
                n_prompt_tokens=len(ids),
                n_ctx=self._limit,
                param="state",
            )
        return ids

    def _ids(self, question: str) -> list[int]:
        if self._chat is None:
            text = f"{self._messages[0]['content']}\n\n{question}\nAnswer:"
            return self._tokenizer.encode(text, limit=self._limit)
        messages = list(self._messages)
        last = messages[-1] if messages else None
        # Not every template takes two messages of one role in a row.
        if last is not None and last.get("role") == "user":
            messages[-1] = {**last, "content": _joined(last.get("content"), question)}
        else:
            messages.append({"role": "user", "content": question})
        options = Rendering(template_kwargs={"enable_thinking": False}, continue_final_message=False)
        prompt = self._chat.prompt(messages, options, limit=self._limit)
        if prompt.thinking:
            raise UnsupportedModelError("the model's template begins with its thinking: it has no place for an answer")
        return prompt.ids

    def labels(self, n: int) -> list[int]:
        """The tokens of the first n labels, all written in one way."""
        for space in self._spaces():
            found = single_tokens(self._tokenizer, [space + label for label in LABELS[:n]])
            if found is not None:
                return found
        raise UnsupportedModelError(
            f"the vocabulary has no single tokens for the letters A to {LABELS[n - 1]}; use scoring='sequence'"
        )

    def answer(self, text: str) -> list[int]:
        return self._tokenizer.encode(self._spaces()[0] + text, add_special=False)

    def _spaces(self) -> tuple[str, ...]:
        # A vocabulary that writes the space before a word itself has one there in any case.
        first = self._tokenizer.encode("A", add_special=False)[:1]
        writes_space = bool(first) and self._tokenizer.token_bytes(first[0]).startswith((b" ", b"\xe2"))
        return ("",) if writes_space else ("", " ") if self._chat is not None else (" ", "")


def wants() -> SamplingParams:
    """What is asked of each prompt: what the model would write next, and what else it might."""
    return SamplingParams(max_tokens=1, temperature=0, logprobs=ALTERNATIVES, ignore_eos=True)


def told(ask: _Ask, completion: Completion) -> list[float | None]:
    """The log-probability of each answer's token; None for those that the model told nothing of."""
    assert completion.logprobs is not None
    entry = completion.logprobs.content[0]
    known = {each.token_id: each.logprob for each in (entry, *entry.top)}
    return [known.get(answer[0]) for answer in ask.answers]


def logprob_of(token: int, completion: Completion) -> float:
    assert completion.logprobs is not None
    entry = completion.logprobs.content[0]
    return entry.logprob if entry.token_id == token else -math.inf


def decide(engine: Engine, deciding: Deciding) -> dict[str, Decision]:
    scores: list[list[float]] = []
    if deciding.scoring == "sequence":
        for ask in deciding.asks:
            rows = [(answer, engine.logprobs([*ask.ids, *answer])) for answer in ask.answers]
            scores.append([math.fsum(map(float, row[-len(answer) :])) for answer, row in rows])
        return deciding.decisions(scores)
    first, *others = deciding.asks
    completions = [engine.generate(first.ids, wants()), *engine.generate_batch([ask.ids for ask in others], wants())]
    for ask, completion in zip(deciding.asks, completions, strict=True):
        found = told(ask, completion)
        for place, answer in enumerate(ask.answers):
            if found[place] is None:
                found[place] = logprob_of(answer[0], engine.generate(ask.ids, forced(answer[0]), queue_timeout=None))
        scores.append([score for score in found if score is not None])
    return deciding.decisions(scores)


async def adecide(engine: Engine, deciding: Deciding) -> dict[str, Decision]:
    scores: list[list[float]] = []
    if deciding.scoring == "sequence":
        for ask in deciding.asks:
            rows = [(answer, await engine.alogprobs([*ask.ids, *answer])) for answer in ask.answers]
            scores.append([math.fsum(map(float, row[-len(answer) :])) for answer, row in rows])
        return deciding.decisions(scores)
    first, *others = deciding.asks
    completions = [
        await engine.agenerate(first.ids, wants()),
        *await engine.agenerate_batch([ask.ids for ask in others], wants()),
    ]
    for ask, completion in zip(deciding.asks, completions, strict=True):
        found = told(ask, completion)
        for place, answer in enumerate(ask.answers):
            if found[place] is None:
                forcing = forced(answer[0])
                found[place] = logprob_of(answer[0], await engine.agenerate(ask.ids, forcing, queue_timeout=None))
        scores.append([score for score in found if score is not None])
    return deciding.decisions(scores)


def _line(name: str, meaning: str | None) -> str:
    return name if meaning is None else f"{name}: {meaning}"


def _with_meanings(text: str, listed: Sequence[tuple[str, str | None]]) -> str:
    lines = [_line(name, meaning) for name, meaning in listed if meaning is not None]
    return "\n".join([text, *lines])


def _as_dict(message: AnyMessage) -> dict[str, Any]:
    if isinstance(message, Mapping):
        return dict(message)
    to_dict = getattr(message, "to_dict", None)
    if to_dict is None:
        raise InvalidRequestError(f"a message is a {type(message).__name__}, expected a mapping", param="messages")
    return dict(to_dict())


def _joined(content: object, question: str) -> object:
    if isinstance(content, str):
        return f"{content}\n\n{question}"
    if isinstance(content, Sequence):
        return [*content, {"type": "text", "text": f"\n\n{question}"}]
    return question


def _softmax(logprobs: Sequence[float]) -> list[float]:
    top = max(logprobs)
    if top == -math.inf:
        return [1 / len(logprobs)] * len(logprobs)
    weights = [math.exp(logprob - top) for logprob in logprobs]
    total = math.fsum(weights)
    return [weight / total for weight in weights]
