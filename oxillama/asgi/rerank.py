"""`POST /v1/rerank` and `/v2/rerank`: how well documents answer a query, in the shape that Jina's and Cohere's clients
know."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from oxillama.asgi.body import on_body, read_body
from oxillama.asgi.disconnect import until_disconnected
from oxillama.asgi.errors import refusal
from oxillama.asgi.fields import FieldTable, harmless, implemented
from oxillama.asgi.large_replies import beside, json_reply
from oxillama.asgi.reading import read_all
from oxillama.asgi.request_log import record_of
from oxillama.asgi.service import Service
from oxillama.asgi.settings import Limits
from oxillama.errors import InvalidRequestError
from oxillama.requests.reranking import RankingHandle

_FIELDS = (
    *implemented("query", "what the documents should answer"),
    *implemented("documents", "texts, or objects with a `text`", "oxillama"),
    *implemented("model", "the model's name, or nothing"),
    *implemented("top_n", "so many of the best; nothing: all", "oxillama"),
    *implemented("return_documents", "the texts stand in the results, too", "oxillama"),
    *implemented("truncate", "cut off the end of a document that is too long, instead of refusing it", "oxillama"),
    *harmless("user", "nobody is told apart by it"),
    *harmless("max_chunks_per_doc", "no document is divided", "oxillama"),
)
FIELDS = FieldTable("/v1/rerank", _FIELDS)
V2_FIELDS = FieldTable("/v2/rerank", _FIELDS)


class RankedText(msgspec.Struct, forbid_unknown_fields=True):
    text: str


class RerankRequest(msgspec.Struct, kw_only=True):
    query: str
    documents: list[str | RankedText]
    model: str | None = None
    top_n: int | None = None
    return_documents: bool | None = None
    truncate: bool | None = None

    def texts_of_documents(self) -> list[str]:
        return [one if isinstance(one, str) else one.text for one in self.documents]

    def check(self, texts: list[str], limits: Limits, field: str) -> None:
        if not texts:
            raise refusal(f"`{field}` is empty", field)
        if len(texts) > limits.max_inputs:
            message = f"`{field}` has {len(texts)} of them, at most {limits.max_inputs} are allowed"
            raise refusal(message, field)
        if self.top_n is not None and self.top_n < 1:
            raise refusal(f"`top_n` is {self.top_n}, expected at least 1", "top_n", code="invalid_value")


async def rerank(request: Request) -> Response:
    return await answer(request, await read_body(request, FIELDS, RerankRequest), version="1")


async def rerank_v2(request: Request) -> Response:
    return await answer(request, await read_body(request, V2_FIELDS, RerankRequest), version="2")


async def scored(
    request: Request, body: RerankRequest, texts: list[str], *, field: str = "documents"
) -> tuple[list[float], int]:
    """The score of each text, and the tokens that were read for them."""
    service, record = Service.of(request), record_of(request.scope)
    served = service.model(body.model, "rerank")
    record.model, engine, limits = served.id, served.engine, service.limits
    body.check(texts, limits, field)

    def prepare(index: int) -> RankingHandle:
        try:
            return engine.prepare_ranking(
                body.query,
                texts[index],
                truncate=bool(body.truncate),
                # Only the first may be told that the queue is full: the request as a whole then has begun.
                queue_timeout=limits.queue_timeout if index == 0 else None,
                deadline=limits.default_deadline,
            )
        except InvalidRequestError as error:
            if error.param == "documents":
                error.param = field
            raise

    async def read() -> list[float]:
        return await read_all(
            request, prepare, n=len(texts), max_flight=engine.max_batch_size, field=field, record=record
        )

    scores = await until_disconnected(request.receive, read)
    return scores, sum(usage.prompt_tokens for usage in record.usages)


async def answer(request: Request, body: RerankRequest, *, version: str) -> Response:
    texts = await on_body(request, body.texts_of_documents)
    scores, num_tokens = await scored(request, body, texts)

    def reply() -> Response:
        best = sorted(range(len(texts)), key=lambda index: -scores[index])[: body.top_n]
        results: list[dict[str, Any]] = [{"index": index, "relevance_score": scores[index]} for index in best]
        if body.return_documents:
            for result in results:
                result["document"] = {"text": texts[result["index"]]}
        content = {
            "id": f"rank-{uuid.uuid4().hex}",
            "object": "list",
            "model": record_of(request.scope).model,
            "results": results,
            "usage": {"prompt_tokens": num_tokens, "total_tokens": num_tokens},
            "meta": {"api_version": {"version": version}, "tokens": {"input_tokens": num_tokens, "output_tokens": 0}},
        }
        return json_reply(content, values=len(texts))

    return await beside(reply, values=len(texts))
