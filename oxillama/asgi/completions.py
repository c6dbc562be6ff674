"""`/v1/completions`: text that goes on from a prompt."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from oxillama.asgi.body import on_body, read_body
from oxillama.asgi.completion_reply import CompletionReply, GivenPrompt
from oxillama.asgi.disconnect import until_disconnected
from oxillama.asgi.errors import refusal
from oxillama.asgi.fields import FieldTable, harmless, implemented, refused
from oxillama.asgi.loras import applied
from oxillama.asgi.prompts import RawPrompt, at, fill_in_the_middle, require_tokenizer, split_prompts
from oxillama.asgi.reply_requests import ReplyRequests
from oxillama.asgi.request_log import record_of
from oxillama.asgi.sampling import SAMPLING_FIELDS, SamplingFields, check_best_of
from oxillama.asgi.service import Service
from oxillama.asgi.sse import EventStream
from oxillama.asgi.stream_options import STREAM_FIELDS, StreamOptions, include_usage
from oxillama.engine import Engine
from oxillama.errors import InvalidRequestError
from oxillama.requests.request import RequestHandle
from oxillama.sampling.params import SamplingParams

# OpenAI's default, alone among the routes.
DEFAULT_MAX_TOKENS = 16

FIELDS = FieldTable(
    "/v1/completions",
    implemented("model", "the model's id or an alias; without it, the only model"),
    implemented("prompt", "a text, token ids, or a list of either"),
    implemented("suffix", "text after the completion; needs a vocabulary with fill-in-the-middle tokens"),
    implemented("max_tokens", "16 unless given"),
    implemented("echo", "the prompt before the completion, with logprobs too if asked"),
    implemented("logprobs", "how many of the most likely tokens to tell at each place"),
    implemented("n_probs", "logprobs", "llama-server"),
    implemented("add_special_tokens", "whether the model's begin-of-text token is put before a text", "vllm"),
    implemented("parse_special", "whether control tokens written in the prompt are recognised", "llama-server"),
    STREAM_FIELDS,
    SAMPLING_FIELDS,
    harmless("metadata store", "nothing is stored"),
    refused("prompt_logprobs", "use echo with logprobs", "vllm"),
)


class CompletionRequest(SamplingFields, kw_only=True):
    model: str | None = None
    prompt: RawPrompt
    suffix: str | None = None
    echo: bool | None = None
    logprobs: int | None = None
    n_probs: int | None = None
    add_special_tokens: bool | None = None
    parse_special: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None


async def create_completion(request: Request) -> Response:
    body = await read_body(request, FIELDS, CompletionRequest)
    service = Service.of(request)
    record = record_of(request.scope)
    served = service.model(body.model, "generate")
    record.model, engine = served.id, served.engine
    params = _params(body, service).replace(lora=applied(served, record, body.model, body.lora))
    with_usage = include_usage(body.stream, body.stream_options)

    def prepare() -> tuple[list[GivenPrompt], list[RequestHandle]]:
        shape = body.shape()
        shape.tell(record)
        held = params.replace(grammar=shape.grammar)
        prompts = _prompts(body, engine, service)
        with shape.errors():
            return prompts, [
                _prepare(engine, prompt, held, body, service, first=prompt is prompts[0]) for prompt in prompts
            ]

    # How long a schema takes is not told by the length of the body.
    prompts, handles = await on_body(request, prepare, tells_time=not body.is_structured)
    requests = ReplyRequests(handles, record)
    await until_disconnected(request.receive, requests.enter)
    reply = CompletionReply(engine, requests, handles, prompts, model=record.model, params=params)
    if body.stream:
        events = reply.events(include_usage=with_usage)
        return EventStream(events, keep_alive=service.settings.keep_alive, close=requests.close)
    return await until_disconnected(request.receive, reply.whole)


def _params(body: CompletionRequest, service: Service) -> SamplingParams:
    logprobs, name = (body.logprobs, "logprobs") if body.n_probs is None else (body.n_probs, "n_probs")
    if body.logprobs not in (None, logprobs):
        raise refusal("n_probs and logprobs mean the same, but differ", "n_probs")
    params = body.to_params(
        service.limits,
        max_priority=service.settings.max_priority,
        logprobs=logprobs,
        logprobs_name=name,
        default_max_tokens=DEFAULT_MAX_TOKENS,
    )
    check_best_of(params, stream=body.stream is True)
    if body.echo and body.suffix is not None:
        raise refusal("echo and suffix exclude each other: there is no one text to repeat", "echo")
    return params.replace(prompt_logprobs=params.logprobs) if body.echo else params


def _prompts(body: CompletionRequest, engine: Engine, service: Service) -> list[GivenPrompt]:
    given = split_prompts(body.prompt, service.limits)
    n_sequences, limit = len(given) * (body.best_of or body.n or 1), service.limits.max_sequences
    if n_sequences > limit:
        name = "n" if body.best_of is None else "best_of"
        message = f"{name} of {len(given)} prompts makes {n_sequences} sequences, at most {limit} are allowed"
        raise refusal(message, name)
    places = [f"prompt[{index}]" if len(given) > 1 else "prompt" for index in range(len(given))]
    return [_prompt(body, engine, one, place) for one, place in zip(given, places, strict=True)]


def _prompt(body: CompletionRequest, engine: Engine, given: str | list[int], place: str) -> GivenPrompt:
    options = {"add_special": body.add_special_tokens is not False, "parse_special": body.parse_special is True}
    try:
        if body.suffix is not None:
            return GivenPrompt(place, _around(body.suffix, engine, given, options["parse_special"]), None)
        if isinstance(given, str):
            ids = require_tokenizer(engine).encode(given, limit=engine.n_ctx, **options)
            return GivenPrompt(place, ids, given if body.echo else None)
        text = require_tokenizer(engine).decode(given, skip_special=True) if body.echo else None
        return GivenPrompt(place, given, text)
    except InvalidRequestError as error:
        raise at(place, error) from None


def _around(suffix: str, engine: Engine, given: str | list[int], parse_special: bool) -> list[int]:
    tokenizer = require_tokenizer(engine)
    encode = partial(tokenizer.encode, add_special=False, parse_special=parse_special, limit=engine.n_ctx)
    prefix = encode(given) if isinstance(given, str) else given
    return fill_in_the_middle(tokenizer, prefix, encode(suffix))


def _prepare(
    engine: Engine,
    prompt: GivenPrompt,
    params: SamplingParams,
    body: CompletionRequest,
    service: Service,
    *,
    first: bool,
) -> RequestHandle:
    # The first prompt is refused if the queue is full; the others then wait for the places that it was given.
    timeout = service.limits.queue_timeout if first else None
    try:
        return engine.prepare(prompt.ids, params, queue_timeout=timeout, cache_salt=body.cache_salt)
    except InvalidRequestError as error:
        raise at(prompt.place, error) from None
