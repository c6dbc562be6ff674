"""What each route takes and answers: the table behind the OpenAPI document. A test compares it with the routes."""

from __future__ import annotations

from oxillama.asgi import apply_template, chat, completions, embeddings, replies, responses, tokens
from oxillama.asgi.openapi import Operation

# Whoever needs the engine may find none, or find it busy or gone.
_ENGINE = (503,)
_MODEL = (404,)
_WORK = (501, 503, 504)

OPERATIONS: tuple[Operation, ...] = (
    Operation(method="get", path="/livez", summary="Whether the process answers", access="open", reply=replies.Health),
    Operation(
        method="get",
        path="/readyz",
        summary="Whether the engine takes requests",
        access="open",
        reply=replies.Health,
        statuses=_ENGINE,
    ),
    Operation(
        method="get",
        path="/health",
        summary="As /readyz",
        access="open",
        reply=replies.Health,
        statuses=_ENGINE,
    ),
    Operation(method="get", path="/version", summary="The version of the server", reply=replies.Version),
    Operation(method="get", path="/props", summary="The model and defaults", reply=replies.Props, statuses=_ENGINE),
    Operation(method="get", path="/openapi.json", summary="The OpenAPI document of the app", reply=dict),
    Operation(
        method="get",
        path="/metrics",
        summary="Figures in Prometheus' text format",
        reply=str,
        media_type="text/plain",
    ),
    Operation(
        method="get",
        path="/v1/models",
        summary="The model, under each of its names",
        reply=replies.ModelList,
        statuses=_ENGINE,
    ),
    Operation(
        method="get",
        path="/v1/models/{id}",
        summary="The model under one name",
        reply=replies.Model,
        parameters=("id",),
        statuses=_MODEL + _ENGINE,
    ),
    Operation(
        method="post",
        path="/v1/chat/completions",
        summary="Replies to a conversation",
        body=chat.ChatRequest,
        fields=chat.FIELDS,
        reply=replies.ChatCompletion,
        event=replies.ChatCompletionChunk,
        statuses=_MODEL + _WORK,
    ),
    Operation(
        method="post",
        path="/v1/completions",
        summary="Text that goes on from a prompt",
        body=completions.CompletionRequest,
        fields=completions.FIELDS,
        reply=replies.Completion,
        event=replies.CompletionChunk,
        statuses=_MODEL + _WORK,
    ),
    Operation(
        method="post",
        path="/v1/responses",
        summary="OpenAI's Responses API, stateless",
        body=responses.ResponsesRequest,
        fields=responses.FIELDS,
        reply=replies.ResponseObject,
        event=replies.ResponseEvent,
        statuses=_MODEL + _WORK,
    ),
    Operation(
        method="post",
        path="/v1/embeddings",
        summary="Vectors of texts or token ids",
        body=embeddings.EmbeddingsRequest,
        fields=embeddings.FIELDS,
        reply=replies.Embeddings,
        statuses=_MODEL + _WORK,
    ),
    Operation(
        method="post",
        path="/v1/rerank",
        summary="How well documents answer a query: the engine cannot do this yet",
        statuses=(501,),
    ),
    Operation(
        method="post",
        path="/apply-template",
        summary="The text of a conversation under the model's template",
        body=apply_template.ApplyTemplateRequest,
        fields=apply_template.FIELDS,
        reply=replies.RenderedPrompt,
        statuses=(*_MODEL, 501, 503),
    ),
    Operation(
        method="post",
        path="/tokenize",
        summary="Token ids of a text or of a conversation",
        body=tokens.TokenizeRequest,
        fields=tokens.TOKENIZE_FIELDS,
        reply=replies.Tokens,
        statuses=(*_MODEL, 501, 503),
    ),
    Operation(
        method="post",
        path="/detokenize",
        summary="The text of token ids",
        body=tokens.DetokenizeRequest,
        fields=tokens.DETOKENIZE_FIELDS,
        reply=replies.Text,
        statuses=(*_MODEL, 501, 503),
    ),
    Operation(
        method="get",
        path="/admin/stats",
        summary="The engine's figures",
        access="admin",
        reply=replies.Stats,
    ),
    *(
        Operation(
            method=method,
            path="/admin/loras",
            summary="Adapters: the engine cannot load any yet",
            access="admin",
            statuses=(501,),
        )
        for method in ("get", "post", "delete")
    ),
)
