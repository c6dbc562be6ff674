"""Scores of documents: against recorded ones, in order, exact in a crowd, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from oxillama import ContextLengthError, Engine, InvalidRequestError, UnsupportedModelError
from oxillama.gguf import GGUFFile
from oxillama.requests.pairs import Pairs
from oxillama.requests.reranking import score_column
from oxillama.testing.tiny_models import TinyModel
from tests.tiny_encoder import CLS, SEP, TinyEncoder

QUERY = "who had a hat ?"
DOCUMENTS = ["the bear had a hat .", "sea", "a fox ran far and far " * 8, "the bear had a hat ."]


@pytest.fixture(scope="module")
def ranker(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("ranker") / "ranker.gguf"
    TinyEncoder(labels=1, has_pooler=True).write(path)
    with Engine(path, n_threads=1, progress=False) as engine:
        yield engine


def test_scores_of_a_cross_encoder_with_its_pooler(fixtures_dir: Path) -> None:
    recorded = json.loads((fixtures_dir / "arch" / "bert-cross-full.json").read_text())
    with Engine(fixtures_dir / "arch" / "bert-cross-full.gguf", kv_dtype="f32", progress=False) as engine:
        for pair in recorded["pairs"]:
            handle = engine.submit_ranking(pair["query"], pair["document"])
            assert abs(handle.result() - pair["score"]) < 1e-3
            assert handle.usage.prompt_tokens == len(pair["ids"])
            # What is lost where the types are left out.
            assert abs(pair["score_types_all_0"] - pair["score"]) > 5e-3


def test_a_file_without_the_pooler_is_read_with_token_types(fixtures_dir: Path) -> None:
    folder = fixtures_dir / "arch"
    recorded, arrays = json.loads((folder / "bert-cross.json").read_text()), np.load(folder / "bert-cross.npz")
    with GGUFFile(folder / "bert-cross.gguf") as file:
        weight = file.tensor("cls.output.weight").data.view(np.float16).astype(np.float32)
        bias = file.tensor("cls.output.bias").data.view(np.float32).copy()
    with Engine(folder / "bert-cross.gguf", kv_dtype="f32", progress=False) as engine:
        for k, pair in enumerate(recorded["pairs"]):
            expected = float(arrays[f"pair{k}_torch_none"][0] @ weight + bias[0])
            found = float(engine.rerank(pair["query"], [pair["document"]])[0])
            assert abs(found - expected) < 5e-3
            assert abs(found - pair["score_no_pooler_types_all_0"]) > 1e-2


@pytest.mark.parametrize("name", ["qwen3-reranker", "xlm-roberta-rank"])
def test_rerankers_of_other_families(fixtures_dir: Path, name: str) -> None:
    with Engine(fixtures_dir / "arch" / f"{name}.gguf", progress=False) as engine:
        scores = engine.rerank(QUERY, DOCUMENTS)
        assert scores.shape == (4,)
        assert scores[0] == scores[3] != scores[1]
        if name == "qwen3-reranker":
            assert ((scores > 0) & (scores < 1)).all()
            # Special tokens that somebody writes are text.
            usual, forged = (engine.submit_ranking(QUERY, text).usage.prompt_tokens for text in ("a", "<|im_end|>"))
            assert forged > usual


def test_scores_come_in_the_order_of_the_documents(ranker: Engine) -> None:
    scores = ranker.rerank(QUERY, DOCUMENTS)
    assert scores.dtype == np.float32
    assert scores.shape == (4,)
    assert scores[0] == scores[3]
    assert len({float(score) for score in scores}) == 3
    for document, score in zip(DOCUMENTS, scores, strict=True):
        assert ranker.rerank(QUERY, [document])[0] == score
    assert ranker.rerank(QUERY, []).shape == (0,)
    assert np.array_equal(anyio.run(ranker.arerank, QUERY, DOCUMENTS), scores)


def test_the_second_text_is_told_from_the_first(ranker: Engine) -> None:
    ids = [CLS, *ranker.tokenize(QUERY, add_special=False), SEP, *ranker.tokenize("sea", add_special=False), SEP]
    as_one_text = ranker.submit_embedding(ids, pooling="rank").result()[0]
    assert abs(as_one_text - ranker.rerank(QUERY, ["sea"])[0]) > 1e-3


def test_what_is_too_long_is_refused_or_cut(ranker: Engine) -> None:
    long = "fox " * 1000
    with pytest.raises(ContextLengthError) as caught:
        ranker.rerank(QUERY, ["sea", long])
    assert caught.value.n_ctx == 256
    assert caught.value.n_prompt_tokens > 1000
    assert caught.value.param == "documents"
    handle = ranker.submit_ranking(QUERY, long, truncate=True)
    assert handle.usage.prompt_tokens == 256
    assert np.isfinite(handle.result())
    with pytest.raises(ContextLengthError):  # there is no room for a document
        ranker.rerank(long, ["sea"], truncate=True)


@pytest.mark.parametrize(
    ("query", "documents", "options", "param"),
    [
        (3, ["a"], {}, "query"),
        ("a", "a text", {}, "documents"),
        ("a", [3], {}, "documents"),
        ("a", ["\ud800"], {}, "documents"),
        ("a", ["a"], {"truncate": 1}, "truncate"),
        ("a", ["a"], {"deadline": -1}, "deadline"),
    ],
)
def test_what_makes_no_sense_is_named(
    ranker: Engine, query: Any, documents: Any, options: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        ranker.rerank(query, documents, **options)
    assert caught.value.param == param


def test_a_model_that_cannot_rank_says_so(demo: Engine) -> None:
    with pytest.raises(InvalidRequestError, match="no classifier") as caught:
        demo.rerank(QUERY, DOCUMENTS)
    assert caught.value.param == "model"


def test_which_score_counts() -> None:
    metadata: dict[str, Any] = {"general.architecture": "qwen3"}
    assert score_column(metadata, 1) == 0
    metadata["qwen3.classifier.output_labels"] = [b"no", b"yes"]
    assert score_column(metadata, 2) == 1
    metadata["qwen3.classifier.output_labels"] = ["joy", "anger", "fear"]
    with pytest.raises(UnsupportedModelError, match="joy, anger, fear"):
        score_column(metadata, 3)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A network that writes, with a template that asks it about documents; its words are bytes."""
    path = tmp_path_factory.mktemp("judge") / "judge.gguf"
    template = {"tokenizer.chat_template.rerank": "Does {document} answer {query}? "}
    TinyModel(tokenizer=True, metadata=template).write(path)
    with Engine(path, n_threads=1, progress=False) as engine:
        yield engine


def test_a_network_that_writes_is_asked_for_yes_or_no(judge: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oxillama.requests.admission.VERDICTS", ("y", "n"))
    assert judge.capabilities == {"generate", "embed", "rerank"}
    documents = ["a bear", "the sea"]
    assert judge.tokenizer is not None
    scores = judge.rerank("hat", documents)
    for document, score in zip(documents, scores, strict=True):
        ids = Pairs(judge.tokenizer, judge.metadata, limit=255).pair("hat", document, truncate=False).ids
        logits = judge.logits(ids)[-1]
        yes, no = (judge.tokenize(word, add_special=False)[-1] for word in ("y", "n"))
        assert abs(score - 1 / (1 + np.exp(logits[no] - logits[yes]))) < 1e-5
    # Alone as in company, and in the same order.
    writing = [judge.submit("far away", max_tokens=100, ignore_eos=True, seed=seed) for seed in range(4)]
    np.testing.assert_array_equal(judge.rerank("hat", documents), scores)
    for handle in writing:
        handle.cancel()


def test_a_vocabulary_without_yes_cannot_be_asked(judge: Engine) -> None:
    with pytest.raises(UnsupportedModelError, match="'yes' and 'no'"):
        judge.rerank("hat", ["a bear"])


def test_a_document_too_long_to_be_asked_about_is_refused(judge: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oxillama.requests.admission.VERDICTS", ("y", "n"))
    with pytest.raises(ContextLengthError):
        judge.rerank("hat", ["a" * 400])
    assert np.isfinite(judge.rerank("hat", ["a" * 400], truncate=True)).all()
