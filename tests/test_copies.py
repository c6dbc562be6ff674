"""What is copied, pickled and sent to other processes: tokenizers and samplers are, engines say what to do instead."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oxillama import Engine, InvalidRequestError, Sampler, SamplingParams, Tokenizer
from oxillama.demo import demo_path
from oxillama.gguf import GGUFFile
from tests.metadata_mutations import VOCABULARIES, parts
from tests.vocab.vocabularies import byte_pair_metadata

TEXT = "Hello w\u00f6rld, hello 123 <tool> \U0001f600\n"
ROW = np.linspace(-1, 3, 20, dtype=np.float32)


def sent(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


COPIES: list[Callable[[Any], Any]] = [sent, copy.copy, copy.deepcopy]


def says_the_same(tokenizer: Tokenizer, other: Tokenizer) -> bool:
    ids = tokenizer.encode(TEXT)
    return (
        repr(tokenizer) == repr(other)
        and other.encode(TEXT) == ids
        and other.decode(ids) == tokenizer.decode(ids)
        and other.specials == tokenizer.specials
        and [other.token_bytes(i) for i in range(other.n_vocab)]
        == [tokenizer.token_bytes(i) for i in range(tokenizer.n_vocab)]
    )


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_a_tokenizer(vocabulary: str, copied: Callable[[Any], Any], tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(parts(vocabulary).file())
    tokenizer = Tokenizer.from_gguf(path)
    assert says_the_same(tokenizer, copied(tokenizer))
    # Used before, and sent on.
    assert says_the_same(tokenizer, copied(copied(tokenizer)))


@pytest.mark.parametrize("copied", COPIES)
def test_a_tokenizer_from_a_mapping(copied: Callable[[Any], Any]) -> None:
    tokenizer = Tokenizer(byte_pair_metadata())
    assert says_the_same(tokenizer, copied(tokenizer))


def test_a_tokenizer_is_sent_without_the_weights(demo: Engine) -> None:
    tokenizer = demo.tokenizer
    assert tokenizer is not None
    assert says_the_same(tokenizer, sent(tokenizer))
    assert len(pickle.dumps(tokenizer)) < demo_path().stat().st_size / 4
    with GGUFFile(demo_path()) as file:
        assert len(pickle.dumps(Tokenizer.from_gguf(file))) < demo_path().stat().st_size / 4


def test_a_large_vocabulary(fixtures_dir: Path) -> None:
    path = fixtures_dir / "vocab" / "ggml-vocab-llama-bpe.gguf"
    tokenizer = Tokenizer.from_gguf(path)
    pickled = pickle.dumps(tokenizer)
    assert len(pickled) < 1.01 * path.stat().st_size
    assert says_the_same(tokenizer, pickle.loads(pickled))


def test_metadata(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(parts("bpe").file())
    with GGUFFile(path) as file:
        metadata = file.metadata
        found = sent(metadata)
        assert list(found) == list(metadata)
        assert all(found.raw(key) == metadata.raw(key) for key in metadata)


@pytest.mark.parametrize("copied", COPIES)
def test_a_sampler_draws_what_it_drew(copied: Callable[[Any], Any]) -> None:
    for params in (SamplingParams(temperature=0.9), SamplingParams(seed=7, top_k=5, logit_bias={3: 1.5})):
        sampler = Sampler(params, eog_tokens=iter([1]))
        before = [sampler.sample(ROW, position=position) for position in range(50)]
        twin = copied(sampler)
        assert twin.seed == sampler.seed
        assert twin.params == sampler.params
        assert [twin.sample(ROW, position=position) for position in range(50)] == before
        assert np.array_equal(twin.probs(ROW), sampler.probs(ROW))


@pytest.mark.parametrize("copied", COPIES)
def test_a_sampler_with_texts_brings_its_tokenizer(copied: Callable[[Any], Any], demo: Engine) -> None:
    assert demo.tokenizer is not None
    row = np.linspace(0, 1, demo.n_vocab, dtype=np.float32)
    params = SamplingParams(seed=1, dry_multiplier=1.0, min_tokens=2, logit_bias={" the": 2.0})
    sampler = Sampler(params, tokenizer=demo.tokenizer, eog_tokens=demo.tokenizer.eog_ids)
    twin = copied(sampler)
    history = ([5, 6, 7], [5, 6])
    assert np.array_equal(twin.probs(row, history), sampler.probs(row, history))


@pytest.mark.parametrize("copied", COPIES)
def test_a_session_goes_on_where_it_was(copied: Callable[[Any], Any]) -> None:
    session = Sampler(SamplingParams(seed=3, mirostat=2)).session()
    for position in range(5):
        session.sample(ROW, position=position)
    twin = copied(session)
    assert twin.mu == session.mu
    assert [twin.sample(ROW, position=p) for p in range(5, 20)] == [
        session.sample(ROW, position=p) for p in range(5, 20)
    ]
    assert twin.mu == session.mu


def work(tokenizer: Tokenizer, sampler: Sampler, text: str) -> tuple[list[int], int]:
    return tokenizer.encode(text), sampler.sample(ROW, position=4)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_other_processes_work_with_them(method: str, demo: Engine) -> None:
    assert demo.tokenizer is not None
    sampler = Sampler(SamplingParams(temperature=1.0))
    task = partial(work, demo.tokenizer, sampler)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        assert list(pool.map(task, [TEXT, "a"])) == [task(TEXT), task("a")]


@pytest.mark.parametrize(
    "copied",
    [
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        lambda engine: pickle.dumps([engine], protocol=2),
        lambda engine: pickle.dumps(engine.generate),
        lambda engine: pickle.dumps(partial(engine.submit, "a")),
        lambda engine: copy.deepcopy({"engine": engine}),
    ],
)
def test_an_engine_says_what_to_do_instead(copied: Callable[[Any], Any], demo: Engine) -> None:
    with pytest.raises(TypeError, match="Open one engine in each process") as caught:
        copied(demo)
    assert repr(demo.name) in str(caught.value)
    assert demo.generate([1], max_tokens=1).usage.completion_tokens == 1


def test_a_class_derived_from_engine_says_the_same() -> None:
    class Own(Engine):
        """Somebody's own."""

    with Own.demo(n_threads=1, progress=False) as engine, pytest.raises(TypeError, match="cannot be pickled or copied"):
        copy.copy(engine)


def test_an_error_on_the_way_is_one_of_the_tree(demo: Engine) -> None:
    assert demo.tokenizer is not None
    with pytest.raises(InvalidRequestError):
        sent(demo.tokenizer).decode([demo.n_vocab])
