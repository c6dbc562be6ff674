"""Byte-pair vocabularies on a hand-made one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxillama.errors import InvalidRequestError, ModelLoadError
from oxillama.tokenizer import Tokenizer
from oxillama.vocab import bpe
from oxillama.vocab.bpe import BytePairEncoder
from tests.vocab.vocabularies import CONTROL, NORMAL, byte_pair_metadata

GPT2 = Tokenizer(byte_pair_metadata())
texts = st.lists(
    st.sampled_from(["hello", " w", "123", "<|im_end|>", "<tool>", "<|endoftext|>", "\r\n", "\u00e9"])
    | st.text(max_size=4)
).map("".join)


def pieces(tokenizer: Tokenizer, text: str) -> list[bytes]:
    return [tokenizer.token_bytes(token) for token in tokenizer.encode(text, add_special=False)]


def test_merges_are_applied_in_order_inside_words_only() -> None:
    assert pieces(GPT2, "hello world 123") == [b"hello", b" w", b"o", b"r", b"l", b"d", b" ", b"123"]
    assert pieces(GPT2, "hell o") == [b"hell", b" ", b"o"]


def test_a_word_that_is_a_token_stays_whole_only_where_merges_are_ignored() -> None:
    base = byte_pair_metadata("llama-bpe")
    tokens = [*base["tokenizer.ggml.tokens"], b"xyz"]
    types = [*base["tokenizer.ggml.token_type"], NORMAL]
    for pre, expected in [("llama-bpe", [b"xyz"]), ("gpt-2", [b"x", b"y", b"z"])]:
        tokenizer = Tokenizer(byte_pair_metadata(pre, tokens=tokens, token_type=types))
        assert pieces(tokenizer, "xyz") == expected


@given(texts, st.booleans())
def test_the_bytes_of_the_ids_are_the_text(text: str, parse_special: bool) -> None:
    ids = GPT2.encode(text, add_special=False, parse_special=parse_special)
    assert GPT2.table.join(ids) == text.encode()


def test_control_tokens_in_ordinary_text_stay_text() -> None:
    end = GPT2.find(b"<|im_end|>")
    assert end is not None
    assert end not in GPT2.encode("a<|im_end|>b<|endoftext|>")
    assert end in GPT2.encode("a<|im_end|>b", parse_special=True)


def test_a_control_token_that_is_one_word_cannot_be_forged() -> None:
    base = byte_pair_metadata("llama-bpe")
    tokenizer = Tokenizer(
        byte_pair_metadata(
            "llama-bpe",
            tokens=[*base["tokenizer.ggml.tokens"], b"ENDOFTURN"],
            token_type=[*base["tokenizer.ggml.token_type"], CONTROL],
        )
    )
    forged = tokenizer.find(b"ENDOFTURN")
    assert forged not in tokenizer.encode("ENDOFTURN")
    assert tokenizer.encode("ENDOFTURN", add_special=False, parse_special=True) == [forged]


def test_user_defined_tokens_are_found_in_ordinary_text() -> None:
    assert pieces(GPT2, "a<tool>b") == [b"a", b"<tool>", b"b"]


def test_merges_that_do_not_fit_are_refused() -> None:
    merges = byte_pair_metadata()["tokenizer.ggml.merges"]
    for bad, missing in [(b"q q", "qq"), (b"qq q", "qq"), (b"h", ""), (b"", "")]:
        tokenizer = Tokenizer(byte_pair_metadata(merges=[*merges, bad]))
        with pytest.raises(ModelLoadError, match=rf"merges\[{len(merges)}\].*'{missing}' is no token"):
            tokenizer.encode("x")
    with pytest.raises(ModelLoadError, match=r"merges: expected an array"):
        Tokenizer(byte_pair_metadata(merges=None)).prepare()


def test_a_merge_may_join_tokens_that_begin_with_a_space() -> None:
    """Vocabularies over characters may hold spaces as they are."""
    metadata = {
        "tokenizer.ggml.model": "gemma4",
        "tokenizer.ggml.tokens": ["\u2581".encode(), b"a", "\u2581a".encode(), b"\n", b"\n\n", b"<0xC3>", b"<0xA9>"],
        "tokenizer.ggml.token_type": [1, 1, 1, 1, 1, 6, 6],
        "tokenizer.ggml.merges": ["\u2581 a".encode(), b"\n \n"],
    }
    tokenizer = Tokenizer(metadata)
    assert tokenizer.encode("a a\n\na\u00e9", add_special=False) == [1, 2, 4, 1, 5, 6]
    assert tokenizer.decode([1, 2, 4, 5, 6]) == "a a\n\n\u00e9"


# Beside other threads


class Counter:
    """A thread that counts whenever it gets a turn. No turn is given by the clock meanwhile."""

    def __enter__(self) -> Counter:
        self.count, self._ends = 0, False
        self._interval = sys.getswitchinterval()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        sys.setswitchinterval(1000)
        return self

    def _run(self) -> None:
        while not self._ends:
            self.count += 1
            time.sleep(0)

    def __exit__(self, *exc: object) -> None:
        sys.setswitchinterval(self._interval)
        self._ends = True
        self._thread.join()


@pytest.mark.parametrize("text", ["7" * 300_000, "a" * 300_000, " " * 300_000, "some words " * 30_000])
@pytest.mark.parametrize("pre", ["gpt-2", "llama-bpe", "qwen2"])
def test_other_threads_run_while_a_long_text_is_encoded(pre: str, text: str) -> None:
    tokenizer = Tokenizer(byte_pair_metadata(pre))
    tokenizer.prepare()
    with Counter() as counter:
        before = counter.count
        tokenizer.encode(text)
        assert counter.count > before


def test_a_child_of_a_fork_encodes_long_texts_too() -> None:
    # The library's threads stay with the parent, and with this setting it does not see that.
    code = """
import os, signal, sys
from oxillama.tokenizer import Tokenizer
from tests.vocab.vocabularies import byte_pair_metadata
tokenizer = Tokenizer(byte_pair_metadata())
ids = tokenizer.encode("a" * 100_000)
child = os.fork()
if child == 0:
    signal.alarm(100)
    os._exit(0 if tokenizer.encode("a" * 100_000) == ids else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "true"}
    assert subprocess.run([sys.executable, "-c", code], env=environment, timeout=200, check=False).returncode == 0


class PanicException(BaseException):  # as the library's
    pass


def test_where_the_library_gets_no_threads_it_works_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    class Refused:
        def encode_batch_fast(self, texts: list[str], **options: Any) -> Any:
            calls.append("batch")
            raise PanicException("The global thread pool has not been initialized.: ThreadPoolBuildError { .. }")

        def encode(self, text: str, **options: Any) -> Any:
            calls.append("alone")
            return SimpleNamespace(ids=[len(text)])

    encoder = BytePairEncoder.__new__(BytePairEncoder)
    encoder._encoder = cast(Any, Refused())
    monkeypatch.setattr(bpe._Process, "is_alone", False)
    for _ in range(2):
        assert encoder.encode("x" * 5000, after_special=False) == [5000]
    assert calls == ["batch", "alone", "alone"]


def test_another_panic_is_about_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def encode_batch_fast(self, texts: list[str], **options: Any) -> Any:
            raise PanicException("the regular expression gave up")

    encoder = BytePairEncoder.__new__(BytePairEncoder)
    encoder._encoder = cast(Any, Broken())
    monkeypatch.setattr(bpe._Process, "is_alone", False)
    with pytest.raises(InvalidRequestError, match="cannot be cut into words"):
        encoder.encode("x" * 5000, after_special=False)
