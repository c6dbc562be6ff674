"""`POST /apply-template`: the text that a conversation becomes under the model's template, and nothing more."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from oxillama.asgi.body import read_body
from oxillama.asgi.conversations import on_conversation
from oxillama.asgi.errors import JSONResponse
from oxillama.asgi.fields import FieldTable, implemented
from oxillama.asgi.service import Service

FIELDS = FieldTable(
    "/apply-template",
    implemented("messages", "the conversation", "llama-server"),
    implemented("tools", "definitions that the template describes to the model", "llama-server"),
    implemented("chat_template_kwargs", "variables for the template", "llama-server"),
    implemented("add_generation_prompt", "whether the text ends with the beginning of an answer", "llama-server"),
    implemented("continue_final_message", "whether the last message is left open", "vllm"),
    implemented("model", "the model's name, or nothing", "vllm"),
)


class ApplyTemplateRequest(msgspec.Struct, kw_only=True):
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    model: str | None = None


async def apply_template(request: Request) -> Response:
    body = await read_body(request, FIELDS, ApplyTemplateRequest)
    service = Service.of(request)
    served = service.model(body.model, "generate")
    engine = served.engine

    def render() -> str:
        return engine.render_chat(
            body.messages,
            tools=body.tools,
            tool_syntax=served.tool_syntax,
            template_kwargs=body.chat_template_kwargs,
            continue_final_message=body.continue_final_message,
            add_generation_prompt=body.add_generation_prompt is not False,
        )

    return JSONResponse({"prompt": await on_conversation(request, body.messages, render)})
