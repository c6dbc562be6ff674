"""Chat templates: conversations become the text a model was trained on. Not what tokens that has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def render(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    add_generation_prompt: bool = True,
    bos_token: str = "",
    eos_token: str = "",
    **kwargs: Any,
) -> str:
    """The text of a conversation under a model's Jinja template, in a sandbox that cannot change its arguments.

    Templates find what transformers gives them: `messages`, `tools`, `add_generation_prompt`, `bos_token`, `eos_token`,
    `raise_exception(text)`, `strftime_now(format)`, `tojson` that leaves characters as they are, and loop controls.
    kwargs go to the template as they are. Raises TemplateError for a template that cannot be compiled, that fails, that
    refuses the conversation, or that would take too much time or write too much."""
    # Not above: it brings jinja2, which only chats need.
    from oxillama.chat.template_rendering import rendered

    variables = {
        **kwargs,
        "messages": messages,
        "tools": tools,
        "documents": None,
        "add_generation_prompt": add_generation_prompt,
        "bos_token": bos_token,
        "eos_token": eos_token,
    }
    return rendered(template, variables)


def check_compiles(template: str) -> None:
    """Raises TemplateError for a template that is too large, or is none."""
    from oxillama.chat import template_rendering

    template_rendering.check_compiles(template)
