"""`/v1/chat/completions`: replies to a conversation, under the model's own template."""

from __future__ import annotations

from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response

from oxillama.asgi.body import read_body
from oxillama.asgi.chat_reply import ChatReply
from oxillama.asgi.conversations import on_conversation, template_kwargs
from oxillama.asgi.disconnect import until_disconnected
from oxillama.asgi.errors import refusal
from oxillama.asgi.fields import FieldTable, harmless, implemented, refused
from oxillama.asgi.loras import applied
from oxillama.asgi.reply_requests import ReplyRequests
from oxillama.asgi.request_log import RequestRecord, record_of
from oxillama.asgi.sampling import SAMPLING_FIELDS, SamplingFields, check_best_of
from oxillama.asgi.served_model import ServedModel
from oxillama.asgi.service import Service
from oxillama.asgi.sse import EventStream
from oxillama.asgi.stream_options import STREAM_FIELDS, StreamOptions, include_usage
from oxillama.asgi.structure import RESPONSE_FORMAT
from oxillama.requests.chat import ChatHandle
from oxillama.sampling.params import SamplingParams

_FUNCTIONS = "the form before tools; say it in tools and tool_choice"
NO_VERBOSITY = "models are not trained to it; ask for it in a message"

FIELDS = FieldTable(
    "/v1/chat/completions",
    implemented("model", "the model's id or an alias; without it, the only model"),
    implemented("messages", "texts and text parts of system, developer, user, assistant and tool"),
    implemented("max_completion_tokens max_tokens", "to the end of the context unless given"),
    implemented("logprobs", "whether each token's log-probability is told"),
    implemented("top_logprobs", "how many of the most likely tokens are told with it, at most 20"),
    implemented("reasoning_effort", "a variable of the template; `none` also sets enable_thinking to false"),
    STREAM_FIELDS,
    SAMPLING_FIELDS,
    implemented("chat_template_kwargs", "variables of the template", "vllm"),
    implemented("add_generation_prompt", "false: the prompt ends where the messages do", "vllm"),
    implemented(
        "continue_final_message",
        "whether the reply goes on with a last message of the assistant; it does unless told",
        "vllm",
    ),
    implemented("reasoning_format", "`none` leaves what the model thinks in the content", "llama-server"),
    harmless("store metadata", "nothing is stored"),
    implemented("tools", "functions that the model may ask to have called; a strict one is held to its schema"),
    implemented("tool_choice", "`none`, `auto`, `required`, a function by its name, or allowed_tools"),
    implemented("parallel_tool_calls", "false: one call at most"),
    harmless("prompt_cache_key prompt_cache_options prompt_cache_retention", "the prefix cache needs no hints"),
    refused("functions", _FUNCTIONS, neutral=([],)),
    refused("function_call", _FUNCTIONS, neutral=("none", "auto")),
    RESPONSE_FORMAT,
    refused("modalities", "replies are text", neutral=(["text"],)),
    refused("audio", "replies are text"),
    refused("verbosity", NO_VERBOSITY, neutral=("medium",)),
    refused("web_search_options", "nothing is looked up"),
    refused("moderation", "nothing is moderated"),
    refused("chat_template", "the template is the engine's; chat_template_kwargs are its variables", "vllm"),
    refused("documents", "the template gets messages only", "vllm", neutral=([],)),
    refused("echo", "the reply is the assistant's alone", "vllm", neutral=(False,)),
    refused("include_reasoning", "it is a part of the reply of its own", "vllm", neutral=(True,)),
    refused("add_special_tokens", "special tokens are the template's", "vllm", neutral=(False,)),
)


class ChatRequest(SamplingFields, kw_only=True):
    model: str | None = None
    messages: list[dict[str, Any]]
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    reasoning_effort: str | None = None
    response_format: Any = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    reasoning_format: Literal["auto", "none", "deepseek"] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None


async def create_chat_completion(request: Request) -> Response:
    body = await read_body(request, FIELDS, ChatRequest)
    service = Service.of(request)
    record = record_of(request.scope)
    served = service.model(body.model, "generate")
    record.model = served.id
    params = _params(body, service).replace(lora=applied(served, record, body.model, body.lora))
    with_usage = include_usage(body.stream, body.stream_options)
    handle = await on_conversation(request, body.messages, lambda: _prepare(served, body, params, service, record))
    requests = ReplyRequests([handle], record)
    await until_disconnected(request.receive, requests.enter)
    reply = ChatReply(handle, requests, model=record.model)
    if body.stream:
        events = reply.events(include_usage=with_usage)
        return EventStream(events, keep_alive=service.settings.keep_alive, close=requests.close)
    return await until_disconnected(request.receive, reply.whole)


def _params(body: ChatRequest, service: Service) -> SamplingParams:
    if body.top_logprobs is not None and not body.logprobs:
        raise refusal("top_logprobs needs logprobs: true", "top_logprobs")
    params = body.to_params(
        service.limits,
        max_priority=service.settings.max_priority,
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        logprobs_name="top_logprobs",
        default_max_tokens=None,
    )
    check_best_of(params, stream=body.stream is True)
    return params


def _prepare(
    served: ServedModel, body: ChatRequest, params: SamplingParams, service: Service, record: RequestRecord
) -> ChatHandle:
    shape = body.shape(body.response_format)
    shape.tell(record)
    with shape.errors():
        return served.engine.prepare_chat(
            body.messages,
            params.replace(grammar=shape.grammar),
            tools=body.tools,
            tool_choice=body.tool_choice,
            parallel_tool_calls=body.parallel_tool_calls,
            tool_syntax=served.tool_syntax,
            template_kwargs=template_kwargs(body.reasoning_effort, body.chat_template_kwargs),
            continue_final_message=body.continue_final_message,
            add_generation_prompt=body.add_generation_prompt is not False,
            reasoning_format="none" if body.reasoning_format == "none" else "auto",
            queue_timeout=service.limits.queue_timeout,
            cache_salt=body.cache_salt,
        )
