"""What each route takes and answers: the table behind the OpenAPI document. A test compares it with the routes."""

from __future__ import annotations

from oxillama.asgi import (
    apply_template,
    chat,
    completions,
    embeddings,
    replies,
    rerank,
    responses,
    systemone,
    tei,
    tokens,
)
from oxillama.asgi.openapi import Operation

# What a route may answer besides what its body and its access imply. Whoever needs the engine may find none, or find it
# busy or gone; who names a model may name another; texts need a tokenizer, which not every model has; work takes time.
_ENGINE = (503,)
_MODEL = (404, 503)
_TEXT = (404, 501, 503)
_WORK = (404, 501, 503, 504)

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
    Operation(
        "post",
        "/v1/chat/completions",
        "Replies to a conversation",
        body=chat.ChatRequest,
        fields=chat.FIELDS,
        reply=replies.ChatCompletion,
        event=replies.ChatCompletionChunk,
        statuses=_WORK,
    ),
    Operation(
        "post",
        "/v1/completions",
        "Text that goes on from a prompt",
        body=completions.CompletionRequest,
        fields=completions.FIELDS,
        reply=replies.Completion,
        event=replies.CompletionChunk,
        statuses=_WORK,
    ),
    Operation(
        "post",
        "/v1/responses",
        "OpenAI's Responses API, stateless",
        body=responses.ResponsesRequest,
        fields=responses.FIELDS,
        reply=replies.ResponseObject,
        event=replies.ResponseEvent,
        statuses=_WORK,
    ),
    Operation(
        "post",
        "/v1/embeddings",
        "Vectors of texts or token ids",
        body=embeddings.EmbeddingsRequest,
        fields=embeddings.FIELDS,
        reply=replies.Embeddings,
        statuses=_WORK,
    ),
    *(
        Operation(
            "post",
            path,
            "How well documents answer a query, the best first",
            body=rerank.RerankRequest,
            fields=fields,
            reply=replies.Ranking,
            statuses=_WORK,
        )
        for path, fields in (("/v1/rerank", rerank.FIELDS), ("/v2/rerank", rerank.V2_FIELDS))
    ),
    Operation(
        "post",
        "/v1/systemone",
        "Typed questions about a state, with the probability of every answer",
        body=systemone.SystemOneRequest,
        fields=systemone.FIELDS,
        reply=replies.Answers,
        statuses=_WORK,
    ),
    Operation(
        "post",
        "/embed",
        "Vectors of texts, as text-embeddings-inference answers",
        body=tei.EmbedRequest,
        fields=tei.EMBED_FIELDS,
        reply=list[list[float]],
        statuses=_WORK,
    ),
    Operation("post", "/embed_sparse", "Vectors over the vocabulary: no model gives them yet", statuses=(501,)),
    Operation(
        "post",
        "/rerank",
        "How well texts answer a query, as text-embeddings-inference or Jina answer",
        body=tei.TextRerankRequest,
        fields=tei.RERANK_FIELDS,
        reply=list[replies.RankedText] | replies.Ranking,
        statuses=_WORK,
    ),
    Operation(
        "post",
        "/apply-template",
        "The text of a conversation under the model's template",
        body=apply_template.ApplyTemplateRequest,
        fields=apply_template.FIELDS,
        reply=replies.RenderedPrompt,
        statuses=_TEXT,
    ),
    Operation(
        "post",
        "/tokenize",
        "Token ids of a text or of a conversation",
        body=tokens.TokenizeRequest,
        fields=tokens.TOKENIZE_FIELDS,
        reply=replies.Tokens,
        statuses=_TEXT,
    ),
    Operation(
        "post",
        "/detokenize",
        "The text of token ids",
        body=tokens.DetokenizeRequest,
        fields=tokens.DETOKENIZE_FIELDS,
        reply=replies.Text,
        statuses=_TEXT,
    ),
    Operation("get", "/admin/stats", "The engine's figures", access="admin", reply=replies.Stats),
    *(
        Operation(method, "/admin/loras", "Adapters: the engine cannot load any yet", access="admin", statuses=(501,))
        for method in ("get", "post", "delete")
    ),
)
