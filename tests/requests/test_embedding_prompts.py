"""What stands before queries and documents, by the names that published files have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oxillama import Engine, InvalidRequestError
from oxillama.requests.embedding_prompts import prefix_of
from tests.tiny_encoder import TinyEncoder


@pytest.mark.parametrize(
    ("name", "query", "document"),
    [
        ("Multilingual E5 Base", "query: ", "passage: "),
        ("e5-small-v2", "query: ", "passage: "),
        ("nomic-embed-text-v1.5", "search_query: ", "search_document: "),
        ("Bge Small En v1.5", "Represent this sentence for searching relevant passages: ", ""),
        ("bge-m3", "", ""),
        ("Snowflake Arctic Embed L v2.0", "query: ", ""),
        ("snowflake-arctic-embed-m", "Represent this sentence for searching relevant passages: ", ""),
        ("mxbai-embed-large-v1", "Represent this sentence for searching relevant passages: ", ""),
        ("embeddinggemma-300m", "task: search result | query: ", "title: none | text: "),
        (
            "Qwen3 Embedding 0.6B",
            "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:",
            "",
        ),
        ("all-MiniLM-L6-v2", "", ""),
    ],
)
def test_published_models(name: str, query: str, document: str) -> None:
    metadata = {"general.name": name}
    assert [prefix_of(metadata, prompt) for prompt in ("query", "document")] == [query, document]
    assert prefix_of({"general.basename": name}, "query") == query


def test_a_file_that_says_it_goes_first() -> None:
    metadata = {"general.name": "bge-m3", "sentence_transformers.prompts.query": "ask: "}
    assert prefix_of(metadata, "query") == "ask: "
    assert prefix_of(metadata, "document") == ""


@pytest.mark.parametrize("metadata", [{}, {"general.name": "my own model"}, {"general.name": 3}])
def test_nothing_is_guessed(metadata: dict[str, object]) -> None:
    with pytest.raises(InvalidRequestError, match="is not known") as caught:
        prefix_of(metadata, "query")
    assert caught.value.param == "prompt"


def test_an_engine_reads_its_file(tmp_path: Path) -> None:
    path = tmp_path / "e5.gguf"
    replace(TinyEncoder(), metadata={"general.name": "e5-tiny"}).write(path)
    with Engine(path, n_threads=1, progress=False) as engine:
        found = engine.embed(["the fox"], prompt="document")
        np.testing.assert_array_equal(found, engine.embed(["passage: the fox"]))
