"""`POST /v1/systemone`: typed questions about a state, answered with probabilities, in the shape of llama-server and of
TypeSafe's API."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from oxillama.asgi.body import on_body, read_body
from oxillama.asgi.disconnect import until_disconnected
from oxillama.asgi.errors import refusal
from oxillama.asgi.fields import FieldTable, harmless, implemented
from oxillama.asgi.large_replies import json_reply
from oxillama.asgi.request_log import record_of
from oxillama.asgi.service import Service
from oxillama.decisions import Choice, Decision, Question, Score, YesNo
from oxillama.errors import InvalidRequestError
from oxillama.requests.deciding import Deciding, adecide
from oxillama.results.completion import Usage

FIELDS = FieldTable(
    "/v1/systemone",
    implemented("state", "what the questions are about: a text, or any JSON", "llama-server"),
    implemented("questions", "by name: `type` choice, score or noul, `instructions`, `criteria`", "llama-server"),
    implemented("model", "the model's name, or nothing", "llama-server"),
    implemented("rotations", "the mean over all orders of the options of each question", "oxillama"),
    harmless("user metadata", "nobody is told apart by it"),
)


class AskedQuestion(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """criteria: of a choice an object from options to what they mean, of a score a list of levels, of a noul an object
    with `true` and `false`, or nothing."""

    type: Literal["choice", "score", "noul"]
    instructions: Any = None
    criteria: dict[str, Any] | list[Any] | None = None

    def question(self) -> Question:
        asked = None if self.instructions is None else _text(self.instructions)
        criteria = self.criteria
        if self.type == "choice":
            if not isinstance(criteria, dict | list):
                raise InvalidRequestError("expected the options of a choice", param="criteria")
            if isinstance(criteria, list):
                return Choice([_text(option) for option in criteria], asked)
            return Choice({name: None if what is None else _text(what) for name, what in criteria.items()}, asked)
        if self.type == "score":
            if not isinstance(criteria, list) or len(criteria) < 2:
                raise InvalidRequestError("expected a list of at least two levels of a score", param="criteria")
            return Score(0, len(criteria) - 1, asked, [_text(level) for level in criteria])
        if criteria is not None and (not isinstance(criteria, dict) or not criteria.keys() <= {"true", "false"}):
            raise InvalidRequestError("expected an object with `true` and `false`, or nothing", param="criteria")
        meanings = {name: None if what is None else _text(what) for name, what in (criteria or {}).items()}
        return YesNo(asked, yes=meanings.get("true"), no=meanings.get("false"))

    def answer(self, decision: Decision) -> dict[str, Any]:
        if self.type == "noul":
            return {"type": "noul", "noul": decision.probabilities[True]}
        probabilities = {str(name): p for name, p in decision.probabilities.items()}
        if self.type == "choice":
            answer: dict[str, Any] = {"type": "choice", "choice": decision.value}
        else:
            assert isinstance(self.criteria, list)
            legend = {str(level): what for level, what in enumerate(self.criteria)}
            answer = {"type": "score", "score": decision.value, "legend": legend}
        return {**answer, "probabilities": probabilities, "confidence": decision.confidence}


class SystemOneRequest(msgspec.Struct, kw_only=True):
    state: Any
    questions: dict[str, AskedQuestion]
    model: str | None = None
    rotations: bool | None = None

    def typed(self, most: int) -> dict[str, Question]:
        if not self.questions:
            raise refusal("`questions` is empty", "questions")
        if len(self.questions) > most:
            raise refusal(f"`questions` has {len(self.questions)} of them, at most {most} are allowed", "questions")
        typed: dict[str, Question] = {}
        for name, question in self.questions.items():
            try:
                typed[name] = question.question()
            except InvalidRequestError as error:
                inner = "criteria" if error.param in ("options", "criteria", "levels", "high") else "instructions"
                raise refusal(str(error), f"questions.{name}.{inner}", code="invalid_value") from None
        return typed


async def systemone(request: Request) -> Response:
    body = await read_body(request, FIELDS, SystemOneRequest)
    service, record = Service.of(request), record_of(request.scope)
    served = service.model(body.model, "generate")
    record.model, engine = served.id, served.engine
    questions = body.typed(service.limits.max_prompts)

    def prepare() -> Deciding:
        rotations, most = body.rotations is True, service.limits.max_sequences
        return engine.prepare_decisions(_text(body.state), questions, rotations=rotations, max_prompts=most)

    # How long a template takes is not told by the length of what was said.
    deciding = await on_body(request, prepare, tells_time=False)
    decisions = await until_disconnected(request.receive, lambda: adecide(engine, deciding))
    record.usages.append(Usage(prompt_tokens=deciding.num_tokens, completion_tokens=0))
    content = {
        "model": record.model,
        "answers": {name: body.questions[name].answer(decision) for name, decision in decisions.items()},
        "usage": {"input_tokens": deciding.num_tokens, "output_tokens": 0},
    }
    return json_reply(content, values=sum(len(each.probabilities) for each in decisions.values()))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
