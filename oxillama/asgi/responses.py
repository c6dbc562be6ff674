"""`POST /v1/responses`: OpenAI's Responses API over the chat, stateless: nothing is kept between two requests."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from oxillama.asgi.body import on_body, read_body
from oxillama.asgi.chat import NO_VERBOSITY
from oxillama.asgi.conversations import on_conversation, template_kwargs
from oxillama.asgi.disconnect import until_disconnected
from oxillama.asgi.errors import JSONResponse, refusal
from oxillama.asgi.fields import Field, FieldTable, harmless, implemented, refused, unsupported
from oxillama.asgi.large_replies import beside, in_pieces, json_reply
from oxillama.asgi.loras import applied
from oxillama.asgi.reply_requests import ReplyRequests
from oxillama.asgi.request_log import record_of
from oxillama.asgi.response_events import ResponseBuilder
from oxillama.asgi.response_input import InputMessages, nested_tools
from oxillama.asgi.sampling import SAMPLING_FIELDS, SamplingFields
from oxillama.asgi.service import Service
from oxillama.asgi.settings import Limits
from oxillama.asgi.sse import EventStream, event
from oxillama.asgi.structure import Shape
from oxillama.errors import InvalidRequestError
from oxillama.requests.chat import ChatHandle
from oxillama.results.chat import ChatCompletion, ChatCompletionChunk
from oxillama.sampling.params import SamplingParams
from oxillama.structured.grammar import Grammar
from oxillama.structured.response_format import schema_options_grammar

# Shared with chats, but for what a response has under another name or not at all.
_OTHER_NAMES = frozenset({"n", "best_of", "n_predict", "max_tokens", "max_completion_tokens"})


def _sampling_fields() -> list[Field]:
    return [field for field in SAMPLING_FIELDS if field.name not in _OTHER_NAMES]


FIELDS = FieldTable(
    "/v1/responses",
    implemented("input", "a text, or a list of messages and of reasoning items"),
    implemented("instructions", "a system message before the input"),
    implemented("model", "the model's name, or nothing"),
    implemented("max_output_tokens", "reasoning included; nothing: to the end of the context"),
    implemented("top_logprobs", "with `include: [message.output_text.logprobs]`"),
    implemented("stream", "events instead of one reply"),
    implemented(
        "text", "`format` of the type text, json_object or json_schema; `verbosity` as in a chat: nothing but medium"
    ),
    implemented("include", "`message.output_text.logprobs`; the others add to items that there never are"),
    implemented("metadata", "at most 16 texts of 512 characters, given back"),
    _sampling_fields(),
    implemented("chat_template_kwargs", "variables for the model's template", "vllm"),
    implemented("reasoning", "`effort` is a variable of the template; `none` also sets enable_thinking to false"),
    implemented("tools", "functions that the model may ask to have called; a strict one is held to its schema"),
    implemented("tool_choice", "`none`, `auto`, `required`, a function by its name, or allowed_tools"),
    implemented("parallel_tool_calls", "false: one call at most"),
    harmless("prompt_cache_key", "the prefix cache needs no advice"),
    harmless("prompt_cache_options prompt_cache_retention", "the prefix cache needs no advice"),
    harmless("stream_options", "events are never padded"),
    refused("store", "nothing is kept", neutral=(False,)),
    refused("previous_response_id conversation prompt", "nothing is kept: send the whole conversation as `input`"),
    refused("background background_options", "nothing is kept", neutral=(False,)),
    refused("max_tool_calls", "there are no tools"),
    refused("truncation", "nothing is ever truncated unasked", neutral=("disabled",)),
    refused("context_management", "nothing is ever truncated unasked", neutral=([],)),
    refused("moderation access_programs image", "there is nothing of the kind here"),
)
ChatRequests = ReplyRequests[ChatCompletionChunk, ChatCompletion]
MAX_METADATA = 16
LOGPROBS = "message.output_text.logprobs"
Includable = Literal[
    "message.output_text.logprobs",
    # Nothing is stored, so thoughts are always told as a text, and never in a form that only the server reads.
    "reasoning.encrypted_content",
    # What there are neither tools nor pictures for.
    "message.input_image.image_url",
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
]


class TextFormat(msgspec.Struct, tag_field="type", tag="text", forbid_unknown_fields=True):
    """Any text."""


class ObjectFormat(msgspec.Struct, tag_field="type", tag="json_object", forbid_unknown_fields=True):
    """Any JSON object."""


class SchemaFormat(msgspec.Struct, tag_field="type", tag="json_schema", forbid_unknown_fields=True):
    """JSON of a schema; its name and description are for OpenAI's models."""

    name: str | None = None
    description: str | None = None
    schema: Any = None
    strict: bool | None = None


class TextOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    format: TextFormat | ObjectFormat | SchemaFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None

    def check(self) -> None:
        """Raises HTTPError for what no reply can be yet."""
        if self.verbosity not in (None, "medium"):
            raise unsupported("text.verbosity", NO_VERBOSITY)


class Reasoning(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Thinking is always given whole, so no summary of it is made."""

    effort: str | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None
    context: Literal["auto", "current_turn", "all_turns"] | None = None
    mode: Literal["standard"] | None = None


class ResponsesRequest(SamplingFields, kw_only=True):
    input: str | list[dict[str, Any]]
    model: str | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    top_logprobs: int | None = None
    stream: bool | None = None
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    include: list[Includable] | None = None
    parallel_tool_calls: bool | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    metadata: dict[str, str] | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    @property
    def wants_logprobs(self) -> bool:
        return LOGPROBS in (self.include or ())

    @property
    def format(self) -> dict[str, Any]:
        """The format of the text, as the client said it."""
        shape = self.text.format if self.text is not None and self.text.format is not None else TextFormat()
        said: dict[str, Any] = msgspec.to_builtins(shape)
        return {name: value for name, value in said.items() if value is not None}

    def text_shape(self) -> Shape:
        """What the text must look like. Never on the event loop, see `StructureFields.shape`."""
        shape = None if self.text is None else self.text.format
        if isinstance(shape, SchemaFormat):
            options = {"schema": shape.schema, "strict": shape.strict}
            return self.shape(schema_options_grammar(options, "text.format"), "text.format")
        return self.shape(Grammar.json_object() if isinstance(shape, ObjectFormat) else None, "text.format")

    @property
    def effort(self) -> str | None:
        return None if self.reasoning is None else self.reasoning.effort

    def check_metadata(self) -> None:
        """OpenAI's own limits: what is given back must not make replies large."""
        pairs = self.metadata or {}
        if len(pairs) > MAX_METADATA:
            raise refusal(f"metadata has {len(pairs)} entries, at most {MAX_METADATA} are allowed", "metadata")
        if any(len(key) > 64 or len(value) > 512 for key, value in pairs.items()):
            raise refusal("metadata has a key of more than 64 or a text of more than 512 characters", "metadata")

    def sampling(self, limits: Limits, max_priority: int) -> SamplingParams:
        """Raises HTTPError naming the client's field."""
        if self.top_logprobs and not self.wants_logprobs:
            raise refusal(f"top_logprobs needs {LOGPROBS} in include", "top_logprobs")
        return self.to_params(
            limits,
            max_priority=max_priority,
            logprobs=(self.top_logprobs or 0) if self.wants_logprobs else None,
            logprobs_name="top_logprobs",
            default_max_tokens=None,
        )

    def echo(self) -> dict[str, Any]:
        """What a response repeats of its request."""
        return {
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens,
            "max_tool_calls": None,
            "metadata": self.metadata or {},
            "parallel_tool_calls": self.parallel_tool_calls is not False,
            "reasoning": {"effort": self.effort, "summary": None},
            "service_tier": "default",
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "text": {"format": self.format, "verbosity": "medium"},
            "tool_choice": self.tool_choice or "auto",
            "tools": self.tools or [],
            "top_logprobs": self.top_logprobs or 0,
            "top_p": 1.0 if self.top_p is None else self.top_p,
            "truncation": "disabled",
        }


async def responses(request: Request) -> Response:
    body = await read_body(request, FIELDS, ResponsesRequest)
    service, record = Service.of(request), record_of(request.scope)
    served = service.model(body.model, "generate")
    model = record.model = served.id
    body.check_metadata()
    if body.text is not None:
        body.text.check()
    params = body.sampling(service.limits, service.settings.max_priority)
    params = params.replace(lora=applied(served, record, body.model, body.lora))
    conversation = await on_body(request, lambda: InputMessages(body.input, body.instructions, service.limits))
    builder = ResponseBuilder(
        response_id=f"resp_{uuid.uuid4().hex}", model=model, echo=body.echo(), wants_logprobs=body.wants_logprobs
    )
    engine = served.engine

    def prepare() -> ChatHandle:
        shape = body.text_shape()
        shape.tell(record)
        try:
            with shape.errors():
                return engine.prepare_chat(
                    conversation.messages,
                    params.replace(grammar=shape.grammar),
                    tools=nested_tools(body.tools),
                    tool_choice=body.tool_choice,
                    parallel_tool_calls=body.parallel_tool_calls,
                    tool_syntax=served.tool_syntax,
                    template_kwargs=template_kwargs(body.effort, body.chat_template_kwargs),
                    continue_final_message=False,
                    queue_timeout=service.limits.queue_timeout,
                    cache_salt=body.cache_salt,
                )
        except InvalidRequestError as error:
            raise conversation.relocated(error) from None

    handle = await on_conversation(request, conversation.messages, prepare)
    requests = ReplyRequests([handle], record)
    await until_disconnected(request.receive, requests.enter)
    if not body.stream:
        return await until_disconnected(request.receive, lambda: _whole(requests, builder))
    return EventStream(
        _events(requests, builder),
        keep_alive=service.settings.keep_alive,
        done=b"",
        close=requests.close,
        on_error=lambda error: _named(builder.error(error.to_dict()["error"])),
    )


async def _events(requests: ChatRequests, builder: ResponseBuilder) -> AsyncGenerator[bytes, None]:
    async with aclosing(requests.chunks()) as chunks:
        yield b"".join(map(_named, builder.begin()))
        async for ready in chunks:
            yield b"".join(_named(each) for _, chunk in ready for each in builder.push(chunk))
        # These repeat all that there was.
        yield await beside(lambda: b"".join(map(_named_in_pieces, builder.finish())), values=requests.num_values)


async def _whole(requests: ChatRequests, builder: ResponseBuilder) -> JSONResponse:
    async with aclosing(requests.chunks()) as chunks:
        async for ready in chunks:
            for _, chunk in ready:
                deque(builder.push(chunk), maxlen=0)

    def build() -> JSONResponse:
        deque(builder.finish(), maxlen=0)
        return json_reply(builder.response(builder.final_status), values=requests.num_values)

    return await beside(build, values=requests.num_values)


def _named(content: dict[str, Any]) -> bytes:
    """An event of this API is also called by its type."""
    return event(content, content["type"])


def _named_in_pieces(content: dict[str, Any]) -> bytes:
    return event(in_pieces(content), content["type"])
