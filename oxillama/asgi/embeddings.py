"""`POST /v1/embeddings`: vectors of texts and of token ids."""

from __future__ import annotations

import base64
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from starlette.requests import Request
from starlette.responses import Response

from oxillama.asgi.body import on_body, read_body
from oxillama.asgi.disconnect import until_disconnected
from oxillama.asgi.errors import refusal
from oxillama.asgi.fields import FieldTable, harmless, implemented
from oxillama.asgi.large_replies import beside, json_reply
from oxillama.asgi.loras import LORA_FIELDS, LoraChoice, applied
from oxillama.asgi.reading import read_all
from oxillama.asgi.request_log import RequestRecord, record_of
from oxillama.asgi.service import Service
from oxillama.asgi.settings import Limits
from oxillama.engine import Engine
from oxillama.requests.embedding import EmbeddingHandle

FIELDS = FieldTable(
    "/v1/embeddings",
    implemented("input", "a text, a list of texts, token ids, or a list of lists of them"),
    implemented("model", "the model's name, or nothing"),
    implemented("encoding_format", "`float`, or `base64` of little-endian float32"),
    implemented("dimensions", "keeps the first ones, for models that are trained so"),
    harmless("user", "nobody is told apart by it"),
    implemented("pooling", "`mean`, `last` or `cls`; nothing: what the file says", "oxillama"),
    implemented("normalize", "to length 1, which is the default", "oxillama"),
    LORA_FIELDS,
    implemented("prompt", "`query` or `document`: what the model expects before it", "oxillama"),
    implemented("truncate", "cut off the end of an input that is too long, instead of refusing it", "oxillama"),
)
# They are written so much quicker than what else replies are made of.
NUMBERS_PER_VALUE = 32


class EmbeddingsRequest(msgspec.Struct, kw_only=True):
    input: str | list[str | int | list[int]]
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    pooling: Literal["mean", "last", "cls"] | None = None
    normalize: bool | None = None
    lora: list[LoraChoice] | None = None
    prompt: Literal["query", "document"] | None = None
    truncate: bool | None = None

    def prompts(self, limits: Limits) -> list[str | list[int]]:
        return checked_inputs(self.input, "input", limits)

    def options(self) -> dict[str, Any]:
        """The fields of EmbeddingParams that the client chose."""
        names = ("pooling", "normalize", "dimensions", "prompt", "truncate")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def checked_inputs(given: str | list[str | int | list[int]], name: str, limits: Limits) -> list[str | list[int]]:
    """One or several inputs, of a field of that name. Raises HTTPError for a mixture, and for too many."""
    if isinstance(given, str):
        return [given]
    if not given:
        raise refusal(f"`{name}` is empty", name)
    if all(isinstance(item, int) for item in given):
        return [given]  # type: ignore[list-item]  # all of them are token ids
    for index, item in enumerate(given):
        if isinstance(item, int) or type(item) is not type(given[0]):
            message = f"`{name}` mixes texts, token ids and lists of ids; expected one kind"
            raise refusal(message, f"{name}[{index}]", code="invalid_value")
    if len(given) > limits.max_inputs:
        raise refusal(f"`{name}` has {len(given)} inputs, at most {limits.max_inputs} are allowed", name)
    return given  # type: ignore[return-value]  # texts, or lists of ids


async def embeddings(request: Request) -> Response:
    body = await read_body(request, FIELDS, EmbeddingsRequest)
    service, record = Service.of(request), record_of(request.scope)
    served = service.model(body.model, "embed")
    model = record.model = served.id
    prompts = await on_body(request, lambda: body.prompts(service.limits))
    engine = served.engine
    options = body.options() | {"lora": applied(served, record, body.model, body.lora)}

    async def embed() -> list[npt.NDArray[np.float32]]:
        return await _embed(request, engine, prompts, options, service.limits, record)

    rows = await until_disconnected(request.receive, embed)
    num_tokens = sum(usage.prompt_tokens for usage in record.usages)

    def reply() -> Response:
        as_base64 = body.encoding_format == "base64"
        content = {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": _base64(row) if as_base64 else row.tolist()}
                for index, row in enumerate(rows)
            ],
            "model": model,
            "usage": {"prompt_tokens": num_tokens, "total_tokens": num_tokens},
        }
        return json_reply(content, values=num_values)

    num_values = sum(row.size for row in rows) // NUMBERS_PER_VALUE
    return await beside(reply, values=num_values)


async def _embed(
    request: Request,
    engine: Engine,
    prompts: list[str | list[int]],
    options: dict[str, Any],
    limits: Limits,
    record: RequestRecord,
) -> list[npt.NDArray[np.float32]]:
    """float32 [dimensions] of each prompt."""

    def prepare(index: int) -> EmbeddingHandle:
        # Only the first may be told that the queue is full: the request as a whole then has begun.
        timeout = limits.queue_timeout if index == 0 else None
        deadline = limits.default_deadline
        return engine.prepare_embedding(prompts[index], queue_timeout=timeout, deadline=deadline, **options)

    return await read_all(
        request, prepare, n=len(prompts), max_flight=engine.max_batch_size, field="input", record=record
    )


def _base64(row: npt.NDArray[np.float32]) -> str:
    return base64.b64encode(row.astype("<f4", copy=False).tobytes()).decode()
