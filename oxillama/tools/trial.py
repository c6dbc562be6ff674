"""A chat template, and what it makes of some small conversations in which values that occur nowhere else stand in for
what a model says."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from oxillama.chat import render
from oxillama.chat.template_traits import template_traits
from oxillama.errors import TemplateError

ASK, NEXT = "qopening", "znextturn"
THOUGHT, ANSWER = "kthinkinge", "wansweringo"
# Nine alphanumerics, which every template takes.
IDS = ("idcall001", "pxcall932")
_TAG = re.compile(r"<[^<>\s][^<>]*>|\[/?[A-Z_]{2,}\]|\]<\]\w+\[>\[|.", re.DOTALL)
FIRST: dict[str, Any] = {"kapone": "vostrq", "ltwoe": 4271}
SECOND: dict[str, Any] = {"mthreed": "xrtext", "nfoury": 9358}


@dataclass(frozen=True)
class TrialCall:
    name: str
    arguments: dict[str, Any]
    call_id: str

    def message(self, *, joined: bool) -> dict[str, Any]:
        arguments = json.dumps(self.arguments) if joined else self.arguments
        return {"id": self.call_id, "type": "function", "function": {"name": self.name, "arguments": arguments}}


ONE = TrialCall("alphafn", FIRST, IDS[0])
TWO = TrialCall("betagn", SECOND, IDS[1])


class Trial:
    """A template, and what it makes of some conversations."""

    def __init__(self, template: str) -> None:
        self.template = template
        self.joined: bool = template_traits(template).joins_arguments
        self._takes_empty = True
        self.prompt: str = self.render([], prompt=True)
        self.prompts: list[str] = [
            self.prompt,
            *(self.render([], prompt=True, enable_thinking=on, thinking=on) for on in (True, False)),
        ]
        self.declares: bool = self.prompt != self.render([], prompt=True, tools=False)

    def render(self, messages: list[dict[str, Any]], *, prompt: bool = False, tools: bool = True, **kwargs: Any) -> str:
        conversation = [{"role": "user", "content": ASK}, *messages]
        try:
            return render(
                self.template,
                conversation,
                tools=_TOOLS if tools else None,
                add_generation_prompt=prompt,
                bos_token="<bos>",
                eos_token="<eos>",
                **kwargs,
            )
        except TemplateError:
            if tools and "alphafn" not in json.dumps(messages):
                return self.render(messages, prompt=prompt, tools=False, **kwargs)
            return ""

    def said(self, *messages: dict[str, Any], **kwargs: Any) -> str:
        """What is written after the last thing that the user asked, without the beginning of the reply."""
        text = self.render(list(messages), **kwargs)
        place = text.rfind(ASK)
        if place < 0:
            return ""
        return text[max((_common(text, prompt) for prompt in self.prompts), default=0) or place + len(ASK) :]

    def calling(self, *calls: TrialCall, content: str = "") -> str:
        message = {
            "role": "assistant",
            "content": content,
            "tool_calls": [call.message(joined=self.joined) for call in calls],
        }
        return self.said(message)

    def after(self, text: str) -> str:
        """What a template writes behind an answer."""
        said = self.said({"role": "assistant", "content": ANSWER}, {"role": "user", "content": NEXT})
        return said.partition(text)[2].partition(NEXT)[0]


def is_tag(text: str) -> bool:
    return len(text) > 2 and text[0] in "<[" and text[-1] in ">]"


def tags_of(text: str) -> list[str]:
    return _TAG.findall(text)


def _common(text: str, prompt: str) -> int:
    """How long both begin alike, in whole tags; 0 where the prompt does not have what was asked in the common part."""
    size = 0
    for one, other in zip(tags_of(text), tags_of(prompt), strict=False):
        if one != other:
            break
        size += len(one)
    return size if ASK in text[:size] else 0


def _tool(call: TrialCall) -> dict[str, Any]:
    properties = {
        key: {"type": "string" if isinstance(value, str) else "integer", "description": "what"}
        for key, value in call.arguments.items()
    }
    return {
        "type": "function",
        "function": {
            "name": call.name,
            "description": "does",
            "parameters": {"type": "object", "properties": properties, "required": list(properties)},
        },
    }


_TOOLS = [_tool(ONE), _tool(TWO)]


@lru_cache(maxsize=128)
def writes_arguments(template: str) -> bool:
    """Whether a template writes anything of what a call in the history says."""
    trial = Trial(template)
    return FIRST["kapone"] in trial.calling(ONE)


@lru_cache(maxsize=128)
def writes_results(template: str) -> bool:
    """Whether a template takes a turn of a tool."""
    trial = Trial(template)
    result = {"role": "tool", "content": ANSWER, "tool_call_id": IDS[0]}
    return ANSWER in trial.render([{"role": "assistant", "content": NEXT}, result])
