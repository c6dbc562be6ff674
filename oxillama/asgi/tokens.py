"""Text to tokens and back, in the shapes of llama-server (`content`) and of vLLM (`prompt` or `messages`)."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from oxillama.asgi.body import on_body, read_body
from oxillama.asgi.conversations import on_conversation
from oxillama.asgi.errors import JSONResponse, refusal
from oxillama.asgi.fields import FieldTable, implemented
from oxillama.asgi.large_replies import json_reply
from oxillama.asgi.prompts import require_tokenizer
from oxillama.asgi.served_model import ServedModel
from oxillama.asgi.service import Service
from oxillama.engine import Engine
from oxillama.tokenizer import Tokenizer

TOKENIZE_FIELDS = FieldTable(
    "/tokenize",
    implemented("content", "the text; the answer is llama-server's", "llama-server"),
    implemented("add_special with_pieces", "as llama-server has them", "llama-server"),
    implemented("parse_special", "whether control tokens are recognised: yes in content, no in prompt", "llama-server"),
    implemented("prompt", "the text; the answer is vLLM's", "vllm"),
    implemented("messages", "a conversation, rendered by the model's template", "vllm"),
    implemented("model add_special_tokens return_token_strs", "as vLLM has them", "vllm"),
    implemented(
        "add_generation_prompt continue_final_message chat_template_kwargs tools", "how it is rendered", "vllm"
    ),
)
DETOKENIZE_FIELDS = FieldTable(
    "/detokenize",
    implemented("tokens", "token ids; the text is given as `content` and as `prompt`", "llama-server"),
    implemented("model", "the model's name", "vllm"),
)


class TokenizeRequest(msgspec.Struct, kw_only=True):
    content: str | None = None
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    model: str | None = None
    add_special: bool | None = None
    parse_special: bool | None = None
    with_pieces: bool | None = None
    add_special_tokens: bool | None = None
    return_token_strs: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None


class DetokenizeRequest(msgspec.Struct, kw_only=True):
    tokens: list[int]
    model: str | None = None


async def tokenize(request: Request) -> Response:
    body = await read_body(request, TOKENIZE_FIELDS, TokenizeRequest)
    service = Service.of(request)
    served = service.model(body.model)
    engine = served.engine
    tokenizer = require_tokenizer(engine)
    given = [name for name in ("content", "prompt", "messages") if getattr(body, name) is not None]
    if len(given) != 1:
        raise refusal(f"expected one of content, prompt and messages, found {len(given)}", "content")
    content, prompt, messages = body.content, body.prompt, body.messages
    if content is not None:
        return await on_body(request, lambda: _as_llama_server(tokenizer, body, content))
    if prompt is not None:
        return await on_body(request, lambda: _as_vllm(engine, body, _encode_prompt(tokenizer, body, prompt)))
    assert messages is not None
    return await on_conversation(
        request, messages, lambda: _as_vllm(engine, body, _encode_chat(served, body, messages))
    )


def _as_llama_server(tokenizer: Tokenizer, body: TokenizeRequest, text: str) -> Response:
    ids = tokenizer.encode(text, add_special=body.add_special or False, parse_special=body.parse_special is not False)
    return json_reply({"tokens": _with_pieces(tokenizer, ids) if body.with_pieces else ids}, values=len(ids))


def _as_vllm(engine: Engine, body: TokenizeRequest, ids: list[int]) -> Response:
    tokenizer = require_tokenizer(engine)
    strings = {token: _text(tokenizer, token) for token in set(ids)} if body.return_token_strs else None
    content = {
        "count": len(ids),
        "max_model_len": engine.n_ctx,
        "tokens": ids,
        "token_strs": None if strings is None else [strings[token] for token in ids],
    }
    return json_reply(content, values=len(ids))


def _encode_prompt(tokenizer: Tokenizer, body: TokenizeRequest, text: str) -> list[int]:
    # As /v1/completions reads a prompt.
    return tokenizer.encode(
        text, add_special=body.add_special_tokens is not False, parse_special=body.parse_special is True
    )


def _encode_chat(served: ServedModel, body: TokenizeRequest, messages: list[dict[str, Any]]) -> list[int]:
    return served.engine.tokenize_chat(
        messages,
        tools=body.tools,
        tool_syntax=served.tool_syntax,
        template_kwargs=body.chat_template_kwargs,
        continue_final_message=body.continue_final_message,
        add_generation_prompt=body.add_generation_prompt is not False,
    )


async def detokenize(request: Request) -> Response:
    body = await read_body(request, DETOKENIZE_FIELDS, DetokenizeRequest)
    service = Service.of(request)
    tokenizer = require_tokenizer(service.model(body.model).engine)

    def decode() -> Response:
        for index, token in enumerate(body.tokens):
            if not 0 <= token < tokenizer.n_vocab:
                message = f"token {token} is not in the vocabulary of {tokenizer.n_vocab}"
                raise refusal(message, f"tokens[{index}]")
        text = tokenizer.decode(body.tokens)
        return JSONResponse({"content": text, "prompt": text})

    return await on_body(request, decode)


def _with_pieces(tokenizer: Tokenizer, ids: list[int]) -> list[dict[str, Any]]:
    # One object for each token, however often it comes: a text may have millions of them.
    pieces = {token: _piece(tokenizer, token) for token in set(ids)}
    return [pieces[token] for token in ids]


def _piece(tokenizer: Tokenizer, token: int) -> dict[str, Any]:
    raw = tokenizer.token_bytes(token)
    try:
        return {"id": token, "piece": raw.decode()}
    except UnicodeDecodeError:
        return {"id": token, "piece": list(raw)}


def _text(tokenizer: Tokenizer, token: int) -> str:
    return tokenizer.token_bytes(token).decode("utf-8", "replace")
