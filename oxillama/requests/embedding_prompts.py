"""What a model was trained to find before a text that is embedded: one thing before a query, another before a document.

Files do not say it in a key of its own, but which model they hold; what that one wants is in its publisher's
description."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oxillama.errors import InvalidRequestError

PROMPTS = ("query", "document")
# A key that a file may have for either, which goes before what is known of its model.
KEY = "sentence_transformers.prompts."


@dataclass(frozen=True)
class _Family:
    name: re.Pattern[str]  # within general.name or general.basename, in lower case with dashes
    query: str
    document: str


def _family(name: str, query: str, document: str) -> _Family:
    return _Family(re.compile(name), query, document)


_PASSAGES = "Represent this sentence for searching relevant passages: "
_RETRIEVAL = "Instruct: Given a web search query, retrieve relevant passages that answer the query\n"
# The first that fits counts.
_FAMILIES = (
    _family(r"e5-.*instruct|e5-mistral", f"{_RETRIEVAL}Query: ", ""),
    _family(r"\be5\b", "query: ", "passage: "),
    _family(r"nomic-embed|modernbert-embed", "search_query: ", "search_document: "),
    _family(r"bge-m3", "", ""),
    _family(r"bge-.*\bzh\b", "为这个句子生成表示以用于检索相关文章：", ""),  # noqa: RUF001
    _family(r"bge-.*\ben\b", _PASSAGES, ""),
    _family(r"arctic-embed.*v2", "query: ", ""),
    _family(r"arctic-embed|mxbai-embed", _PASSAGES, ""),
    _family(r"embedding-?gemma", "task: search result | query: ", "title: none | text: "),
    _family(r"qwen3-embedding", f"{_RETRIEVAL}Query:", ""),
    _family(
        r"jina-embeddings-v3",
        "Represent the query for retrieving evidence documents: ",
        "Represent the document for retrieval: ",
    ),
    _family(r"minilm|all-mpnet|gte-|jina-embeddings-v2|paraphrase-", "", ""),
)


def prefix_of(metadata: Mapping[str, Any], prompt: str) -> str:
    """The text before a query or a document. Raises InvalidRequestError for a model of which nothing is known: a guess
    would make quietly worse vectors."""
    given = metadata.get(f"{KEY}{prompt}")
    if isinstance(given, str):
        return given
    names = [metadata.get(key) for key in ("general.name", "general.basename")]
    called = [re.sub(r"[\s_]+", "-", name.lower()) for name in names if isinstance(name, str)]
    for family in _FAMILIES:
        if any(family.name.search(name) for name in called):
            return family.query if prompt == "query" else family.document
    shown = " or ".join(map(repr, called)) or "a nameless model"
    raise InvalidRequestError(
        f"what {shown} expects before a {prompt} is not known; give it as `prefix`, which may be empty", param="prompt"
    )
