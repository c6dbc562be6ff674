"""The public tokenizer: real vocabularies against llama.cpp's answers, files, limits of its arguments."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oxillama.errors import InvalidRequestError
from oxillama.gguf import GGUFFile
from oxillama.gguf_writer import GGUFWriter
from oxillama.tokenizer import Tokenizer
from tests.vocab.vocabularies import byte_pair_metadata, sentencepiece_metadata, wordpiece_metadata

VOCABULARIES = ["llama-spm", "llama-bpe", "gpt-2", "qwen2", "phi-3", "bert-bge", "starcoder"]
SEPARATOR = "\n__ggml_vocab_test__\n"


@pytest.fixture(scope="module", params=VOCABULARIES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def tokenizer(name: str, fixtures_dir: Path) -> Tokenizer:
    return Tokenizer.from_gguf(fixtures_dir / "vocab" / f"ggml-vocab-{name}.gguf")


def test_special_tokens(name: str, tokenizer: Tokenizer, fixtures_dir: Path) -> None:
    expected = json.loads((fixtures_dir / "vocab" / "vocab.json").read_text("utf-8"))["vocabs"][name]
    ids = {
        "bos": tokenizer.bos_id,
        "eos": tokenizer.eos_id,
        "eot": tokenizer.eot_id,
        "sep": tokenizer.sep_id,
        "nl": tokenizer.newline_id,
        "pad": tokenizer.pad_id,
        "mask": tokenizer.mask_id,
    }
    found: dict[str, Any] = {key: -1 if token is None else token for key, token in ids.items()}
    found |= {"add_bos": tokenizer.add_bos, "add_eos": tokenizer.add_eos, "add_sep": tokenizer.add_sep}
    found |= {"n_vocab": tokenizer.n_vocab, "eog": sorted(tokenizer.eog_ids)}
    assert found == {key: expected[key] for key in found}


def test_texts_of_the_vocabulary_test(name: str, tokenizer: Tokenizer, fixtures_dir: Path) -> None:
    path = fixtures_dir / "vocab" / f"ggml-vocab-{name}.gguf.inp"
    texts = path.read_text("utf-8").split(SEPARATOR)
    lines = path.with_suffix(".out").read_text("utf-8").split("\n")
    assert len(texts) == len(lines)
    for text, line in zip(texts, lines, strict=True):
        assert tokenizer.encode(text, add_special=False) == [int(token) for token in line.split()], repr(text)


def test_tricky_strings(name: str, tokenizer: Tokenizer, fixtures_dir: Path) -> None:
    with (fixtures_dir / "vocab" / f"{name}.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    assert len(rows) == 300
    for row in rows:
        text = row["text"]
        assert tokenizer.encode(text, add_special=False) == row["plain"], repr(text)
        assert tokenizer.encode(text, parse_special=True) == row["special"], repr(text)
        assert tokenizer.encode(text, add_special=False, parse_special=True) == row["parsed"], repr(text)
        expected = bytes.fromhex(row["detok_hex"]) if "detok_hex" in row else row["detok"].encode()
        assert tokenizer.decode_bytes(row["plain"]) == expected, repr(text)
        assert tokenizer.decode(row["plain"]) == expected.decode("utf-8", "replace")


def test_bytes_and_tokens_map_both_ways(tokenizer: Tokenizer) -> None:
    for token in range(0, tokenizer.n_vocab, 97):
        piece = tokenizer.token_bytes(token)
        found = tokenizer.find(piece)
        assert piece == b"" or (found is not None and tokenizer.token_bytes(found) == piece)


def test_texts_of_the_architecture_models(fixtures_dir: Path) -> None:
    paths = sorted((fixtures_dir / "arch").glob("*.json"))
    assert paths
    for path in paths:
        reference = json.loads(path.read_text("utf-8"))
        tokenizer = Tokenizer.from_gguf(path.with_name(reference["gguf"]))
        for row in reference["tokenize"]:
            assert tokenizer.encode(row["text"], add_special=False) == row["plain"], path.stem
            assert tokenizer.encode(row["text"], parse_special=True) == row["special"], path.stem


def test_texts_of_the_embedding_model(fixtures_dir: Path) -> None:
    reference = json.loads((fixtures_dir / "embed" / "minilm.json").read_text("utf-8"))
    tokenizer = Tokenizer.from_gguf(fixtures_dir / "embed" / reference["gguf"])
    for row in reference["rows"]:
        assert tokenizer.encode(row["text"]) == row["ids_lcpp"]


def test_looking_up_bytes_loads_no_text_encoder(fixtures_dir: Path) -> None:
    code = (
        "import sys; from oxillama import Tokenizer; tokenizer = Tokenizer.from_gguf(sys.argv[1])\n"
        "assert tokenizer.token_bytes(tokenizer.find(b' the')) == b' the'\n"
        "assert not {'tokenizers', 'sentencepiece'} & set(sys.modules)"
    )
    path = fixtures_dir / "vocab" / "ggml-vocab-llama-bpe.gguf"
    subprocess.run([sys.executable, "-c", code, path], check=True, timeout=60)


@pytest.mark.parametrize(
    "metadata", [sentencepiece_metadata("bpe"), byte_pair_metadata("llama-bpe"), wordpiece_metadata()]
)
def test_a_file_gives_what_its_metadata_gives(metadata: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "vocab.gguf"
    with GGUFWriter(path) as writer:
        for key, value in metadata.items():
            types = {"scores": "float32", "token_type": "int32"}
            element = types.get(key.rpartition(".")[2])
            writer.add(key, np.array(value, element) if element else value)
    expected = Tokenizer(metadata)
    text = "hello  w\u00f6rld 123 <tool>"
    with GGUFFile(path) as file:
        opened = Tokenizer.from_gguf(file)
    # The file may be closed: the vocabulary keeps what it needs.
    for tokenizer in (opened, Tokenizer.from_gguf(str(path))):
        assert tokenizer.encode(text) == expected.encode(text)
        assert [tokenizer.token_bytes(i) for i in range(tokenizer.n_vocab)] == [
            expected.token_bytes(i) for i in range(expected.n_vocab)
        ]
        assert repr(tokenizer) == repr(expected)


BPE = Tokenizer(byte_pair_metadata("llama-bpe"))


def test_special_tokens_are_added_only_on_request() -> None:
    assert BPE.encode("hello", add_special=False) == BPE.encode("hello")[1:]
    assert BPE.encode("") == [BPE.bos_id]
    both = Tokenizer(byte_pair_metadata(add_bos_token=True, add_eos_token=True))
    assert both.encode("") == [both.bos_id, both.eos_id]


def test_decoding_can_leave_special_tokens_out() -> None:
    ids = [*BPE.encode("hello"), BPE.eot_id or 0]
    assert BPE.decode(ids) == "<|endoftext|>hello<|im_end|>"
    assert BPE.decode(ids, skip_special=True) == "hello"
    assert BPE.decode(np.array(ids)) == BPE.decode(ids)
    assert BPE.decode([0xC3]) == "\ufffd"
    assert BPE.decode_bytes([0xC3]) == b"\xc3"


@pytest.mark.parametrize("ids", [[-1], [266], [2**70], ["a"], [1.0], [None]])
def test_ids_that_are_no_tokens_are_refused(ids: Any) -> None:
    with pytest.raises(InvalidRequestError) as error:
        BPE.decode(ids)
    assert error.value.param == "ids"
    with pytest.raises(InvalidRequestError):
        BPE.token_bytes(ids[0])


@pytest.mark.parametrize("text", ["a\ud800b", b"bytes", None, 5])
def test_what_is_no_text_is_refused(text: Any) -> None:
    with pytest.raises(InvalidRequestError) as error:
        BPE.encode(text)
    assert error.value.param == "text"


def test_options_are_keyword_only() -> None:
    with pytest.raises(TypeError):
        BPE.encode("a", False)  # type: ignore[call-arg]


def test_threads_share_one_encoder() -> None:
    tokenizer = Tokenizer(sentencepiece_metadata("bpe"))
    texts = [f"the girl {i} went" for i in range(200)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(tokenizer.encode, texts)) == [tokenizer.encode(text) for text in texts]
