"""`POST /embed`, `/embed_sparse` and `/rerank`: what clients of text-embeddings-inference send and expect."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt
from starlette.requests import Request
from starlette.responses import Response

from oxillama.asgi.body import on_body, read_body
from oxillama.asgi.disconnect import until_disconnected
from oxillama.asgi.embeddings import NUMBERS_PER_VALUE, checked_inputs
from oxillama.asgi.errors import not_supported, refusal
from oxillama.asgi.fields import FieldTable, harmless, implemented, refused
from oxillama.asgi.large_replies import beside, json_reply
from oxillama.asgi.reading import read_all
from oxillama.asgi.request_log import record_of
from oxillama.asgi.rerank import FIELDS as JINA_FIELDS
from oxillama.asgi.rerank import RankedText, RerankRequest, answer, scored
from oxillama.asgi.service import Service
from oxillama.errors import InvalidRequestError
from oxillama.requests.embedding import EmbeddingHandle

_TRUNCATION = (
    *implemented("truncate", "cut off the end of a text that is too long, instead of refusing it", "tei"),
    *refused("truncation_direction", "texts lose their end", "tei", neutral=("Right", "right")),
)
EMBED_FIELDS = FieldTable(
    "/embed",
    implemented("inputs", "a text, a list of texts, token ids, or a list of lists of them", "tei"),
    implemented("model", "the model's name, or nothing", "oxillama"),
    implemented("normalize", "to length 1, which is the default", "tei"),
    implemented("dimensions", "keeps the first ones, for models that are trained so", "tei"),
    implemented("prompt_name", "`query` or `document`: what the model expects before it", "tei"),
    _TRUNCATION,
)
RERANK_FIELDS = FieldTable(
    "/rerank",
    implemented("texts", "the documents; with them the reply is text-embeddings-inference's", "tei"),
    implemented("raw_scores", "what the model says, instead of a number from 0 to 1", "tei"),
    implemented("return_text", "the texts stand in the results, too", "tei"),
    refused("truncation_direction", "texts lose their end", "tei", neutral=("Right", "right")),
    (field for name, field in JINA_FIELDS.fields.items() if name not in ("user", "max_chunks_per_doc")),
    harmless("user", "nobody is told apart by it"),
    harmless("max_chunks_per_doc", "no document is divided", "oxillama"),
)


class EmbedRequest(msgspec.Struct, kw_only=True):
    inputs: str | list[str | int | list[int]]
    model: str | None = None
    normalize: bool | None = None
    dimensions: int | None = None
    prompt_name: str | None = None
    truncate: bool | None = None


class TextRerankRequest(RerankRequest, kw_only=True):
    """Either of two shapes: `texts` for this one, `documents` for Jina's."""

    documents: list[str | RankedText] = msgspec.field(default_factory=list)
    texts: list[str] | None = None
    raw_scores: bool | None = None
    return_text: bool | None = None


async def embed(request: Request) -> Response:
    body = await read_body(request, EMBED_FIELDS, EmbedRequest)
    service, record = Service.of(request), record_of(request.scope)
    limits = service.limits
    served = service.model(body.model, "embed")
    record.model, engine = served.id, served.engine
    prompts = await on_body(request, lambda: checked_inputs(body.inputs, "inputs", limits))

    def prepare(index: int) -> EmbeddingHandle:
        try:
            return engine.prepare_embedding(
                prompts[index],
                queue_timeout=limits.queue_timeout if index == 0 else None,
                deadline=limits.default_deadline,
                normalize=body.normalize is not False,
                dimensions=body.dimensions,
                prompt=body.prompt_name,
                truncate=body.truncate is True,
            )
        except InvalidRequestError as error:
            error.param = {"input": "inputs", "prompt": "prompt_name"}.get(error.param or "", error.param)
            raise

    async def read() -> list[npt.NDArray[np.float32]]:
        return await read_all(
            request, prepare, n=len(prompts), max_flight=engine.max_batch_size, field="inputs", record=record
        )

    rows = await until_disconnected(request.receive, read)
    num_values = sum(row.size for row in rows) // NUMBERS_PER_VALUE
    return await beside(lambda: json_reply([row.tolist() for row in rows], values=num_values), values=num_values)


async def embed_sparse(request: Request) -> Response:
    raise not_supported("an embedding with a value for each word of the vocabulary")


async def rerank(request: Request) -> Response:
    body = await read_body(request, RERANK_FIELDS, TextRerankRequest)
    if (body.texts is None) == (not body.documents):
        raise refusal("expected either `texts` or `documents`", "texts")
    if body.texts is None:
        return await answer(request, body, version="1")
    texts = body.texts
    engine = Service.of(request).model(body.model, "rerank").engine
    scores, _ = await scored(request, body, texts, field="texts")

    def reply() -> Response:
        is_share = body.raw_scores or engine.ranks_by_probability
        shown = scores if is_share else [1 / (1 + math.exp(-max(-700.0, score))) for score in scores]
        best = sorted(range(len(texts)), key=lambda index: -scores[index])[: body.top_n]
        results: list[dict[str, object]] = [{"index": index, "score": shown[index]} for index in best]
        if body.return_text:
            for result, index in zip(results, best, strict=True):
                result["text"] = texts[index]
        return json_reply(results, values=len(texts))

    return await beside(reply, values=len(texts))
