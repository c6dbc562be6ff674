"""A provider for litellm, over an engine or an app in this process:

    litellm.custom_provider_map = [{"provider": "oxillama", "custom_handler": OxillamaLLM(engine)}]
    litellm.completion(model="oxillama/any", messages=[...])

What is built on litellm (DSPy, crewAI and others) then needs no server. Requests go through the same app as over HTTP,
so fields, tools and errors are the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NoReturn

import openai
from litellm import CustomLLM
from litellm.exceptions import ContextWindowExceededError
from litellm.llms.custom_llm import CustomLLMError
from litellm.types.utils import EmbeddingResponse, GenericStreamingChunk, ModelResponse
from litellm.utils import convert_to_model_response_object
from starlette.types import ASGIApp

from oxillama import clients
from oxillama.asgi import create_app
from oxillama.engine import Engine

# Of litellm's options: what is about its own work, not about the request.
_NOT_FOR_THE_MODEL = ("stream", "max_retries", "user")


class OxillamaLLM(CustomLLM):
    """litellm's calls, sync and async, whole and streamed, with tools, schemas and embeddings.

    engine_or_app: an Engine, several of them by name (the part of `model` after the provider), or the app itself. The
    client that carries the sync requests ends with `close()`; the engine stays its owner's."""

    def __init__(self, engine_or_app: Engine | Mapping[str, Engine] | ASGIApp) -> None:
        super().__init__()
        app = create_app(engine_or_app) if isinstance(engine_or_app, Mapping) else engine_or_app
        self._app: Engine | ASGIApp = app

    @cached_property
    def _client(self) -> openai.OpenAI:
        return clients.openai(self._app, max_retries=0)

    def _new_async_client(self) -> openai.AsyncOpenAI:
        # One for each call: a client belongs to the event loop that it was first used in.
        return clients.async_openai(self._app, max_retries=0)

    def close(self) -> None:
        if "_client" in self.__dict__:
            self._client.close()

    def completion(
        self,
        model: str,
        messages: list[Any],
        *,
        model_response: ModelResponse,
        optional_params: dict[str, Any],
        timeout: Any = None,
        **_: Any,
    ) -> ModelResponse:
        try:
            reply = self._client.chat.completions.create(**_asked(model, messages, optional_params, timeout))
        except openai.APIError as error:
            _raise_as_litellm_s(error, model)
        return _as_response(reply, model_response)

    async def acompletion(
        self,
        model: str,
        messages: list[Any],
        *,
        model_response: ModelResponse,
        optional_params: dict[str, Any],
        timeout: Any = None,
        **_: Any,
    ) -> ModelResponse:
        try:
            async with self._new_async_client() as client:
                reply = await client.chat.completions.create(**_asked(model, messages, optional_params, timeout))
        except openai.APIError as error:
            _raise_as_litellm_s(error, model)
        return _as_response(reply, model_response)

    def streaming(
        self, model: str, messages: list[Any], *, optional_params: dict[str, Any], timeout: Any = None, **_: Any
    ) -> Generator[GenericStreamingChunk, None, None]:
        try:
            with self._client.chat.completions.create(
                **_asked(model, messages, optional_params, timeout, streams=True)
            ) as stream:
                for chunk in stream:
                    yield from _as_chunks(chunk)
        except openai.APIError as error:
            _raise_as_litellm_s(error, model)

    async def astreaming(
        self, model: str, messages: list[Any], *, optional_params: dict[str, Any], timeout: Any = None, **_: Any
    ) -> AsyncIterator[GenericStreamingChunk]:
        try:
            async with self._new_async_client() as client:
                asked = _asked(model, messages, optional_params, timeout, streams=True)
                async with await client.chat.completions.create(**asked) as stream:
                    async for chunk in stream:
                        for part in _as_chunks(chunk):
                            yield part
        except openai.APIError as error:
            _raise_as_litellm_s(error, model)

    def embedding(
        self,
        model: str,
        input: Sequence[Any],  # noqa: A002  # litellm's name
        *,
        model_response: EmbeddingResponse,
        optional_params: dict[str, Any],
        timeout: Any = None,
        **_: Any,
    ) -> EmbeddingResponse:
        try:
            reply = self._client.embeddings.create(**_embedded(model, input, optional_params, timeout))
        except openai.APIError as error:
            _raise_as_litellm_s(error, model)
        return _as_vectors(reply, model_response)

    async def aembedding(
        self,
        model: str,
        input: Sequence[Any],  # noqa: A002
        *,
        model_response: EmbeddingResponse,
        optional_params: dict[str, Any],
        timeout: Any = None,
        **_: Any,
    ) -> EmbeddingResponse:
        try:
            async with self._new_async_client() as client:
                reply = await client.embeddings.create(**_embedded(model, input, optional_params, timeout))
        except openai.APIError as error:
            _raise_as_litellm_s(error, model)
        return _as_vectors(reply, model_response)


def _asked(
    model: str, messages: list[Any], options: dict[str, Any], timeout: Any, *, streams: bool = False
) -> dict[str, Any]:
    """The arguments of OpenAI's client. Every option goes into the body as it is: the app refuses what it has not."""
    body = {name: value for name, value in options.items() if name not in _NOT_FOR_THE_MODEL and value is not None}
    body |= body.pop("extra_body", None) or {}
    asked: dict[str, Any] = {"model": model, "messages": [_plain(message) for message in messages]}
    if streams:
        asked |= {"stream": True, "stream_options": {"include_usage": True, **body.pop("stream_options", {})}}
    return {**asked, "extra_body": body, "timeout": timeout}


def _plain(message: Any) -> Any:
    """A message as litellm's users write it: a mapping, or a reply of litellm's."""
    return message.model_dump(exclude_none=True) if hasattr(message, "model_dump") else message


def _embedded(model: str, texts: Sequence[Any], options: dict[str, Any], timeout: Any) -> dict[str, Any]:
    body = {name: value for name, value in options.items() if name not in _NOT_FOR_THE_MODEL and value is not None}
    form = body.pop("encoding_format", "float")
    return {"model": model, "input": texts, "encoding_format": form, "extra_body": body, "timeout": timeout}


def _as_response(reply: Any, response: ModelResponse) -> ModelResponse:
    found = convert_to_model_response_object(response_object=reply.model_dump(), model_response_object=response)
    assert isinstance(found, ModelResponse)
    return found


def _as_vectors(reply: Any, response: EmbeddingResponse) -> EmbeddingResponse:
    found = convert_to_model_response_object(
        response_object=reply.model_dump(), model_response_object=response, response_type="embedding"
    )
    assert isinstance(found, EmbeddingResponse)
    return found


def _as_chunks(chunk: Any) -> Iterator[GenericStreamingChunk]:
    """litellm's chunks have one call of a tool at most, ours may have several, and the usage without a choice."""
    usage = None if chunk.usage is None else chunk.usage.model_dump()
    for choice in chunk.choices:
        calls = [call.model_dump() for call in choice.delta.tool_calls or ()] or [None]
        for number, call in enumerate(calls):
            yield {
                "text": (choice.delta.content or "") if number == 0 else "",
                "tool_use": call,
                "is_finished": choice.finish_reason is not None and number == len(calls) - 1,
                "finish_reason": choice.finish_reason or "",
                "usage": usage,
                "index": choice.index,
            }
    if not chunk.choices and usage is not None:
        yield {"text": "", "tool_use": None, "is_finished": False, "finish_reason": "", "usage": usage, "index": 0}


def _raise_as_litellm_s(error: openai.APIError, model: str) -> NoReturn:
    """With the status that litellm chooses its own exception by."""
    if error.code == "context_length_exceeded":
        raise ContextWindowExceededError(error.message, model=model, llm_provider="oxillama") from error
    raise CustomLLMError(status_code=getattr(error, "status_code", 500), message=error.message) from error
