"""Messages become a prompt's token ids, under the model's own chat template. Not what is generated then."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from oxillama._core.output.thinking import ThinkingMarks
from oxillama.chat import check_compiles, render
from oxillama.chat.control_texts import ControlTexts, Marks
from oxillama.chat.messages import AnyMessage, checked_kwargs, checked_messages, checked_tools, strings
from oxillama.chat.reasoning import ThinkTags, find_tags, opens_thinking
from oxillama.chat.template_tokens import written_tokens
from oxillama.chat.template_traits import TemplateTraits, deafness, takes_system, template_traits
from oxillama.chat.thinking import Thinking, thinking_marks
from oxillama.errors import InvalidRequestError, TemplateError
from oxillama.requests.beside import LONG
from oxillama.results.chat import ChatMessage
from oxillama.tokenizer import Tokenizer
from oxillama.tools.definitions import ToolSet, tool_set
from oxillama.tools.history import has_calls, ids_in, settled, with_calls_as_text, with_tools_described
from oxillama.tools.probe import probe, tool_syntax_of
from oxillama.tools.syntax import ReplySyntax
from oxillama.tools.table import SYNTAXES, GivenSyntax, given_syntax
from oxillama.tools.trial import writes_arguments, writes_results
from oxillama.values import refused

# Strings, lists and objects; looking at one takes less than a microsecond.
MEASURED_PARTS = 10_000
# Of a prompt, in which it may open thinking.
_END_TOKENS = 64
# Templates without these words show nothing of how a reply is parted that the known tags do not say.
_PARTING_WORDS = ("reasoning_content", "thinking", "thought", "<|channel|>", "to=self", ">>>all", "START_RESPONSE")
# Ways to call that callers bring, which are kept.
_MOST_OTHERS = 16
# What render() sets itself.
RESERVED = frozenset({"template", "messages", "tools", "documents", "add_generation_prompt", "bos_token", "eos_token"})


@dataclass(frozen=True)
class Rendering:
    """How a conversation is rendered.

    ``continue_final_message``: the model goes on with a last message of the assistant instead of answering; None: it
    does wherever there is one, as llama-server does. ``add_generation_prompt``: the prompt ends with the beginning of
    an answer."""

    tools: object = None
    template_kwargs: Mapping[str, Any] | None = None
    continue_final_message: bool | None = None
    add_generation_prompt: bool = True

    def __post_init__(self) -> None:
        if self.continue_final_message is not None and not isinstance(self.continue_final_message, bool):
            raise refused("continue_final_message", "True, False or None", self.continue_final_message)
        if not isinstance(self.add_generation_prompt, bool):
            raise refused("add_generation_prompt", "True or False", self.add_generation_prompt)


@dataclass(frozen=True)
class ChatPrompt:
    """A rendered conversation. ``thinking``: its end has opened the model's thinking; ``answering``: it has closed it.
    ``call_ids``: those of the calls in it."""

    text: str
    ids: list[int]
    thinking: bool
    answering: bool = False
    call_ids: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Forbidden:
    """The tokens that callers may not write, in what the assistant has said and everywhere else.

    ``written``: those among them that ordinary text would otherwise hold, because the file calls them user-defined."""

    anywhere: ControlTexts
    in_replies: ControlTexts
    written: frozenset[str]


@dataclass(frozen=True)
class _Rendering:
    """A rendered conversation that still has its marks in it. ``continued``: the message that it ends in."""

    text: str
    marks: Marks
    written: frozenset[str]
    continued: dict[str, Any] | None
    call_ids: frozenset[str]


def checked_template(template: str) -> str:
    """The template. Raises TemplateError for one that is too large, cannot be compiled, or tells the model nothing."""
    try:
        check_compiles(template)
        if (problem := deafness(template)) is not None:
            raise TemplateError(f"the chat template {problem}")
    except TemplateError as error:
        error.param = "chat_template"
        raise
    return template


class Conversation:
    """Renders conversations for one model: its tokenizer, its template or templates, and what these expect."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        metadata: Mapping[str, Any],
        chat_template: str | None,
        given_syntax: ReplySyntax | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self._given_syntax = given_syntax
        self._templates = _templates(metadata, chat_template)
        self._found: dict[str, _Forbidden] = {}
        self._others: dict[str, Conversation] = {}

    @property
    def template(self) -> str | None:
        """The template that is used without tools."""
        return self._templates.get("default")

    def under(self, syntax: GivenSyntax | None) -> Conversation:
        """The same conversation under a way to call of the caller's. Raises InvalidRequestError."""
        given = given_syntax(syntax)
        if given is None or given == self._given_syntax:
            return self
        key = repr(given)
        other = self._others.get(key)
        if other is None:
            other = object.__new__(Conversation)
            other.tokenizer, other._templates = self.tokenizer, self._templates
            other._given_syntax, other._found, other._others = given, {}, {}
            if len(self._others) >= _MOST_OTHERS:
                self._others.clear()
            self._others[key] = other
        return other

    def _forbidden(self, template: str) -> _Forbidden:
        """What nobody may write in a conversation that this template renders."""
        found = self._found.get(template)
        if found is None:
            found = self._found[template] = self._find_forbidden(template)
        return found

    def _find_forbidden(self, template: str) -> _Forbidden:
        tokenizer = self.tokenizer
        controls = tokenizer.control_texts()
        written = written_tokens(
            template,
            tokenizer.user_defined_texts(),
            bos_token=tokenizer.declared_text("bos"),
            eos_token=tokenizer.declared_text("eos"),
        )
        tags = self.think_tags
        thinking = frozenset() if tags is None else written & {tags.opening, tags.closing}
        # Templates look for the model's own thinking in what it said before, and that was written with these tokens.
        return _Forbidden(ControlTexts(controls | written), ControlTexts(controls | (written - thinking)), written)

    @cached_property
    def think_tags(self) -> ThinkTags | None:
        """What the model's thinking stands between, if it is known to think."""
        tags = find_tags(self._template(tools=False), self._is_token)
        syntax = self.parting if tags is None else None
        return ThinkTags(syntax.think_open, syntax.think_close) if syntax and syntax.think_close else tags

    @cached_property
    def parting(self) -> ReplySyntax | None:
        """How a reply without tools is read where that takes more than the known tags of thinking."""
        template = self._template(tools=False)
        if self._given_syntax is not None:
            found = self._given_syntax
        elif find_tags(template, self._is_token) or not any(word in template for word in _PARTING_WORDS):
            return None
        else:
            found = probe(template)
        bare = replace(found, codec="none")
        return bare if bare.think_close or bare.answer_open else None

    @cached_property
    def tool_syntax(self) -> ReplySyntax:
        """How the model calls tools, and how the parts of its replies are marked."""
        template = self._template(tools=True)
        found = self._given_syntax or tool_syntax_of(template)
        if not found.calls:
            found = replace(found, **{**SYNTAXES["generic"].to_dict(), "declares": found.declares})
        tags = find_tags(template, self._is_token)
        if tags is not None and not found.think_close:
            found = replace(found, think_open=tags.opening, think_close=tags.closing)
        return found

    @cached_property
    def _marks(self) -> ThinkingMarks | None:
        return None if self.think_tags is None else thinking_marks(self.tokenizer, self.think_tags)

    @cached_property
    def _tool_marks(self) -> ThinkingMarks | None:
        syntax = self.tool_syntax
        if not syntax.think_close:
            return None
        return thinking_marks(self.tokenizer, ThinkTags(syntax.think_open, syntax.think_close))

    def thinking(self, prompt: ChatPrompt, *, tools: bool) -> Thinking:
        """Where the reply to a prompt thinks. ``tools``: it may call some."""
        if prompt.answering:
            return Thinking()
        return Thinking(self._tool_marks if tools else self._marks, prompt.thinking)

    def thinking_after(self, prompt: str | Sequence[int] | npt.NDArray[np.integer[Any]]) -> Thinking:
        """Where what is written behind a prompt thinks, by its end. It is no reply, so stop texts count anywhere."""
        try:
            tags = self.think_tags
        except TemplateError:
            tags = None
        if tags is None:
            return Thinking(silences_stops=False)
        end = prompt
        if not isinstance(prompt, str):
            last = [int(token) for token in prompt[-_END_TOKENS:] if 0 <= token < self.tokenizer.n_vocab]
            end = self.tokenizer.decode(last)
        return Thinking(self._marks, opens_thinking(str(end), tags), silences_stops=False)

    @property
    def knows_syntax(self) -> bool:
        """Whether a chat with tools can be read without trying the template first."""
        return "tool_syntax" in self.__dict__

    def prompt(self, messages: Iterable[AnyMessage], options: Rendering, *, limit: int | None = None) -> ChatPrompt:
        """Raises InvalidRequestError naming the message, TemplateError where the template refuses or fails, and
        ContextLengthError once it is certain that a long conversation has more than ``limit`` tokens."""
        rendering = self._render(messages, options)
        text = rendering.marks.remove(rendering.text)
        return ChatPrompt(
            text=text,
            ids=self._ids(rendering, text, limit),
            thinking=self._thinks(rendering),
            answering=self._answers(rendering),
            call_ids=rendering.call_ids,
        )

    def text(self, messages: Iterable[AnyMessage], options: Rendering) -> str:
        """The text of a prompt alone."""
        rendering = self._render(messages, options)
        return rendering.marks.remove(rendering.text)

    def _render(self, messages: Iterable[AnyMessage], options: Rendering) -> _Rendering:
        checked = checked_messages(messages)
        tools = _definitions(options.tools)
        kwargs = checked_kwargs(options.template_kwargs, RESERVED)
        template = self._template(tools=tools is not None)
        call_ids = ids_in(checked)
        continued = _is_continued(checked, options)
        traits = template_traits(template)
        if tools or has_calls(checked):
            checked, tools = self._with_tools(checked, tools, template)
        forbidden = self._forbidden(template)
        marks = forbidden.anywhere.marks([template, *strings(checked), *strings(tools), *strings(kwargs)])
        marking, in_replies = _Marking(forbidden.anywhere, marks, traits), _Marking(forbidden.in_replies, marks, traits)
        marked = [(in_replies if one["role"] == "assistant" else marking).message(one) for one in checked]
        if continued:
            _mark_end(marked[-1], marks)
        rendered = render(
            template,
            marked,
            tools=marking.data(tools),
            add_generation_prompt=options.add_generation_prompt and not continued,
            bos_token=self.tokenizer.declared_text("bos"),
            eos_token=self.tokenizer.declared_text("eos"),
            **marking.data(kwargs),
        )
        rendered = marks.restore(rendered)
        if continued:
            rendered, found, _ = rendered.rpartition(marks.end)
            if not found:
                raise TemplateError(
                    "the chat template leaves the text of the last message out, so it cannot be continued",
                    param="continue_final_message",
                )
        return _Rendering(rendered, marks, forbidden.written, checked[-1] if continued else None, call_ids)

    def _with_tools(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, template: str
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]] | None]:
        """The messages and tools as the template takes them: in the texts where it knows none."""
        syntax = self.tool_syntax
        messages = settled(messages, nine=syntax.ids == "nine")
        if syntax.declares:
            return messages, tools
        if not writes_arguments(template):
            messages = with_calls_as_text(messages, syntax, keeps_results=writes_results(template))
        return with_tools_described(messages, tools, syntax, takes_system=takes_system(template)), None

    def _ids(self, rendering: _Rendering, text: str, limit: int | None) -> list[int]:
        tokenizer, marks = self.tokenizer, rendering.marks
        try:
            tokenizer.check_length(text, limit)
            ids = tokenizer.encode_parsed(rendering.text, marks.remove, broken=rendering.written, limit=limit)
        except InvalidRequestError as error:
            error.param = "messages"
            raise
        if tokenizer.add_bos and tokenizer.bos_id is not None and ids[:1] != [tokenizer.bos_id]:
            ids.insert(0, tokenizer.bos_id)
        return ids

    def _thinks(self, rendering: _Rendering) -> bool:
        tags = self.think_tags
        if tags is None:
            return False
        if rendering.continued is None:
            return opens_thinking(rendering.text, tags)
        text = "".join(strings(rendering.continued["content"]))
        return text.rfind(tags.opening) > text.rfind(tags.closing)

    def _answers(self, rendering: _Rendering) -> bool:
        tags = self.think_tags
        if tags is None or not tags.opening or rendering.continued is not None:
            return False
        text = rendering.text.rstrip()
        return text.endswith(tags.closing) or any(
            text.endswith(marker) for marker in (self.parting.answer_open if self.parting else ())
        )

    def _template(self, *, tools: bool) -> str:
        template = (self._templates.get("tool_use") if tools else None) or self._templates.get("default")
        if template is None:
            raise TemplateError(
                "the model file has no chat template; pass one to the engine as chat_template, or generate from a text",
                param="messages",
            )
        problem = deafness(template)
        if problem is not None:
            raise TemplateError(
                f"the chat template {problem}; pass another to the engine as chat_template (a template, a file, or a "
                "name such as chatml)",
                param="messages",
            )
        return template

    def _is_token(self, text: str) -> bool:
        return self.tokenizer.find(text.encode()) is not None


class _Marking:
    """Breaks what callers may not write in all that a template gets from them, and shapes it as the template wants."""

    def __init__(self, controls: ControlTexts, marks: Marks, traits: TemplateTraits) -> None:
        self._controls = controls
        self._marks = marks
        self._traits = traits

    def message(self, message: dict[str, Any]) -> dict[str, Any]:
        marked: dict[str, Any] = {key: self._text(value) for key, value in message.items() if isinstance(value, str)}
        # Roles are checked names, and templates make special tokens of them.
        role = message["role"]
        marked["role"] = "system" if role == "developer" and not self._traits.knows_developer else role
        marked["content"] = self._content(message["content"])
        if "tool_calls" in message:
            marked["tool_calls"] = [self._tool_call(call) for call in message["tool_calls"]]
        return marked

    def data(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._controls.broken(value, self._marks)
        if isinstance(value, dict):
            return {self.data(key): self.data(item) for key, item in value.items()}
        return [self.data(item) for item in value] if isinstance(value, list) else value

    def _text(self, text: str) -> str:
        return self._controls.broken(text, self._marks, alone=True)

    def _content(self, content: str | list[dict[str, Any]]) -> str | list[dict[str, Any]]:
        if isinstance(content, str):
            if self._traits.takes_text:
                return self._text(content)
            content = [{"type": "text", "text": content}]
        if self._traits.takes_parts:
            return [{"type": "text", "text": self._text(part["text"])} for part in content]
        return self._text("\n".join(part["text"] for part in content))

    def _tool_call(self, call: dict[str, Any]) -> dict[str, Any]:
        function = call["function"]
        arguments = function["arguments"]
        if self._traits.joins_arguments and not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False)
        marked = {
            "type": "function",
            "function": {
                "name": self._text(function["name"]),
                "arguments": self._text(arguments) if isinstance(arguments, str) else self.data(arguments),
            },
        }
        return {"id": self._text(call["id"]), **marked} if "id" in call else marked


def _definitions(tools: object) -> list[dict[str, Any]] | None:
    """Tool definitions as templates get them; None for none."""
    if isinstance(tools, ToolSet):
        return tools.definitions or None
    if isinstance(tools, list | tuple) and any(callable(tool) for tool in tools):
        return tool_set(tools).definitions
    return checked_tools(tools)


def _is_continued(messages: list[dict[str, Any]], options: Rendering) -> bool:
    last = messages[-1]
    possible = last["role"] == "assistant" and "tool_calls" not in last
    if options.continue_final_message is None:
        return possible and options.add_generation_prompt
    if options.continue_final_message and not possible:
        raise InvalidRequestError(
            "continue_final_message needs a text of the assistant as the last message", param="continue_final_message"
        )
    return options.continue_final_message


def _mark_end(message: dict[str, Any], marks: Marks) -> None:
    content = message["content"]
    if isinstance(content, str):
        message["content"] = content + marks.end
    elif content:
        content[-1]["text"] += marks.end
    else:
        message["content"] = [{"type": "text", "text": marks.end}]


def _templates(metadata: Mapping[str, Any], chat_template: str | None) -> dict[str, str]:
    """The templates of a file by name ("default", "tool_use" ...); one given by the caller replaces them all."""
    if chat_template is not None:
        return {"default": chat_template}
    prefix = "tokenizer.chat_template"
    # Only these keys' values are read: others may be long, or no text at all.
    keys = [key for key in metadata if key == prefix or key.startswith(f"{prefix}.")]
    return {
        key.removeprefix(prefix).removeprefix(".") or "default": template
        for key in keys
        if isinstance(template := metadata[key], str)
    }


def measured(messages: Iterable[AnyMessage]) -> tuple[Iterable[AnyMessage], int]:
    """Messages as they were passed, and about how many characters they have. Where there are too many parts to look at
    here, it is a long text in any case."""
    messages = list(messages) if isinstance(messages, Iterator) else messages
    size = 0
    pending: list[Any] = [messages]
    for _ in range(MEASURED_PARTS):
        if not pending:
            return messages, size
        one = pending.pop()
        size += 1
        if isinstance(one, str):
            size += len(one)
        elif isinstance(one, ChatMessage):
            pending += [one.content, one.reasoning_content]
        elif isinstance(one, Mapping):
            pending.extend(one.values())
        elif isinstance(one, list | tuple):
            pending.extend(one)
    return messages, max(size, LONG + 1)
