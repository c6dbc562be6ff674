"""The fields of every request as the official client's own types have them.

`python tests/asgi/openai_fields.py` prints those of the client that is installed, for `openai_fields.json`."""

from __future__ import annotations

import importlib
import importlib.metadata
import json

# Route -> the module with the types of its parameters, and what their names begin with.
PARAMETERS = {
    "/v1/chat/completions": ("openai.types.chat.completion_create_params", "CompletionCreateParams"),
    "/v1/completions": ("openai.types.completion_create_params", "CompletionCreateParams"),
    "/v1/embeddings": ("openai.types.embedding_create_params", "EmbeddingCreateParams"),
    "/v1/responses": ("openai.types.responses.response_create_params", "ResponseCreateParams"),
}


def installed_version() -> str:
    return importlib.metadata.version("openai")


def installed_fields() -> dict[str, list[str]]:
    """Route -> the names of all its parameters, streamed or not."""
    found: dict[str, list[str]] = {}
    for route, (module, prefix) in PARAMETERS.items():
        names: set[str] = set()
        for name, value in vars(importlib.import_module(module)).items():
            if name.startswith(prefix):
                names.update(getattr(value, "__annotations__", {}))
        found[route] = sorted(names)
    return found


if __name__ == "__main__":
    print(json.dumps({installed_version(): installed_fields()}, indent=1))
