"""What each route takes and answers: the table behind the OpenAPI document. A test compares it with the routes."""

from __future__ import annotations

from typing import Any

import msgspec

from oxillama.asgi import (
    apply_template,
    chat,
    completions,
    embeddings,
    loras,
    replies,
    rerank,
    responses,
    systemone,
    tei,
    tokens,
)
from oxillama.asgi.fields import FieldTable
from oxillama.asgi.openapi import Operation

# What a route may answer besides what its body and its access imply. Whoever needs the engine may find none, or find it
# busy or gone; who names a model may name another; texts need a tokenizer, which not every model has; work takes time.
_ENGINE = (503,)
_MODEL = (404, 503)
_TEXT = (404, 501, 503)
_WORK = (404, 501, 503, 504)
# An adapter may be there already, or in use; its model may not be.
_ADAPTERS: dict[str, Any] = {"access": "admin", "statuses": (404, 409, 503)}


def _posted(fields: FieldTable, summary: str, body: type[msgspec.Struct], reply: Any, **more: Any) -> Operation:
    """What takes a body of such fields and works for it; the table of the fields names the route."""
    told = {"statuses": _WORK} | more
    return Operation("post", fields.route, summary, body=body, fields=fields, reply=reply, **told)


OPERATIONS: tuple[Operation, ...] = (
    Operation("get", "/livez", "Whether the process answers", access="open", reply=replies.Health),
    Operation(
        "get", "/readyz", "Whether the engine takes requests", access="open", reply=replies.Health, statuses=_ENGINE
    ),
    Operation("get", "/health", "As /readyz", access="open", reply=replies.Health, statuses=_ENGINE),
    Operation("get", "/version", "The version of the server", reply=replies.Version),
    Operation("get", "/props", "The model and defaults", reply=replies.Props, statuses=_ENGINE),
    Operation("get", "/openapi.json", "The OpenAPI document of the app", reply=dict),
    Operation("get", "/metrics", "Figures in Prometheus' text format", reply=str, media_type="text/plain"),
    Operation("get", "/v1/models", "The model, under each of its names", reply=replies.ModelList, statuses=_ENGINE),
    Operation(
        "get",
        "/v1/models/{id}",
        "The model under one name",
        reply=replies.Model,
        parameters=("id",),
        statuses=_MODEL,
    ),
    _posted(
        chat.FIELDS,
        "Replies to a conversation",
        chat.ChatRequest,
        replies.ChatCompletion,
        event=replies.ChatCompletionChunk,
    ),
    _posted(
        completions.FIELDS,
        "Text that goes on from a prompt",
        completions.CompletionRequest,
        replies.Completion,
        event=replies.CompletionChunk,
    ),
    _posted(
        responses.FIELDS,
        "OpenAI's Responses API, stateless",
        responses.ResponsesRequest,
        replies.ResponseObject,
        event=replies.ResponseEvent,
    ),
    _posted(embeddings.FIELDS, "Vectors of texts or token ids", embeddings.EmbeddingsRequest, replies.Embeddings),
    *(
        _posted(fields, "How well documents answer a query, the best first", rerank.RerankRequest, replies.Ranking)
        for fields in (rerank.FIELDS, rerank.V2_FIELDS)
    ),
    _posted(
        systemone.FIELDS,
        "Typed questions about a state, with the probability of every answer",
        systemone.SystemOneRequest,
        replies.Answers,
    ),
    _posted(
        tei.EMBED_FIELDS, "Vectors of texts, as text-embeddings-inference answers", tei.EmbedRequest, list[list[float]]
    ),
    Operation("post", "/embed_sparse", "Vectors over the vocabulary: no model gives them yet", statuses=(501,)),
    _posted(
        tei.RERANK_FIELDS,
        "How well texts answer a query, as text-embeddings-inference or Jina answer",
        tei.TextRerankRequest,
        list[replies.RankedText] | replies.Ranking,
    ),
    _posted(
        apply_template.FIELDS,
        "The text of a conversation under the model's template",
        apply_template.ApplyTemplateRequest,
        replies.RenderedPrompt,
        statuses=_TEXT,
    ),
    _posted(
        tokens.TOKENIZE_FIELDS,
        "Token ids of a text or of a conversation",
        tokens.TokenizeRequest,
        replies.Tokens,
        statuses=_TEXT,
    ),
    _posted(tokens.DETOKENIZE_FIELDS, "The text of token ids", tokens.DetokenizeRequest, replies.Text, statuses=_TEXT),
    Operation("get", "/admin/stats", "The engine's figures", access="admin", reply=replies.Stats),
    Operation("get", "/admin/loras", "The loaded adapters", access="admin", reply=replies.Loras, statuses=_MODEL),
    _posted(loras.LOAD_FIELDS, "Loads an adapter by path, or from the body", loras.LoadLora, replies.Lora, **_ADAPTERS),
    *(
        Operation(
            "delete",
            path,
            summary,
            access="admin",
            reply=replies.UnloadedLora,
            parameters=parameters,
            statuses=(400, *_ADAPTERS["statuses"]),
        )
        for path, summary, parameters in (
            ("/admin/loras", "Unloads the adapter that the query names", ()),
            ("/admin/loras/{name}", "Unloads an adapter", ("name",)),
        )
    ),
    *(
        _posted(fields, f"As {other} /admin/loras, in vLLM's words", body, str, media_type="text/plain", **_ADAPTERS)
        for fields, other, body in (
            (loras.VLLM_LOAD_FIELDS, "POST", loras.LoadLoraAdapter),
            (loras.VLLM_UNLOAD_FIELDS, "DELETE", loras.UnloadLoraAdapter),
        )
    ),
)
