"""Reads the ``tokenizer.*`` keys of a GGUF file and checks their types and lengths. Not what they mean.

Key names: GGUF specification, section "Tokenizer".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from oxillama.errors import ModelLoadError, UnsupportedModelError
from oxillama.vocab.rwkv import respell

PREFIX = "tokenizer.ggml."


class VocabMetadata:
    """Typed access to the tokenizer keys of ``metadata``; a wrong type is a ModelLoadError that names the key."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self._metadata = metadata
        self._respelt: list[bytes] | None = None

    @property
    def source(self) -> Mapping[str, Any]:
        """What it was made from."""
        return self._metadata

    def _get(self, key: str, kind: type | tuple[type, ...], expected: str) -> Any:
        value = self._metadata.get(key)
        if value is None:
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            raise ModelLoadError(f"{key}: expected {expected}, found {type(value).__name__}")
        return value

    def string(self, key: str) -> str | None:
        """The string at a full key, or None."""
        value: str | None = self._get(key, str, "a string")
        return value

    def note(self, key: str) -> str:
        """The text at a full key that nothing depends on: "" where there is none, or something else."""
        value = self._metadata.get(key)
        return value if isinstance(value, str) else ""

    def flag(self, name: str) -> bool | None:
        """The boolean ``tokenizer.ggml.NAME``, or None."""
        value: bool | None = self._get(PREFIX + name, bool, "a boolean")
        return value

    def integer(self, name: str) -> int | None:
        """The integer ``tokenizer.ggml.NAME``, or None."""
        value: int | None = self._get(PREFIX + name, int, "an integer")
        return value

    def array(self, name: str) -> Sequence[Any] | None:
        """The array ``tokenizer.ggml.NAME``, or None. Its elements are not looked at."""
        key = PREFIX + name
        value = self._metadata.get(key)
        if value is not None and (isinstance(value, str | bytes) or not hasattr(value, "__len__")):
            raise ModelLoadError(f"{key}: expected an array, found {type(value).__name__}")
        return value

    @property
    def model(self) -> str:
        """The vocabulary family; UnsupportedModelError for a file without a tokenizer."""
        model = self.string(PREFIX + "model")
        if model is None or model in ("none", "no_vocab"):
            raise UnsupportedModelError("the model file has no tokenizer, so text cannot be encoded; token ids work")
        return model

    @property
    def texts(self) -> Sequence[bytes]:
        """The token texts as the file spells them, one per token; those of RWKV in GPT-2's byte alphabet."""
        texts = self.array("tokens")
        if texts is None or len(texts) == 0:
            raise ModelLoadError("tokenizer.ggml.tokens: expected an array of strings, found none")
        if not isinstance(texts[0], bytes):
            raise ModelLoadError(f"tokenizer.ggml.tokens: expected strings, found {type(texts[0]).__name__}")
        if self._metadata.get(PREFIX + "model") != "rwkv":
            return texts
        if self._respelt is None:
            self._respelt = respell(texts)
        return self._respelt

    @property
    def types(self) -> Sequence[int] | None:
        """The GGUF token types, one per token, or None."""
        types = self._numbers("token_type", "iu")
        if types is not None and np.asarray(types).max() > 2**31 - 1:
            raise ModelLoadError(f"{PREFIX}token_type: expected 32-bit numbers, found {max(types)}")
        return types

    @property
    def scores(self) -> Sequence[float] | None:
        """The SentencePiece scores, one per token, or None."""
        return self._numbers("scores", "f")

    def check_scores(self) -> None:
        """ModelLoadError when the scores do not fit the tokens, or one is NaN or beyond float32."""
        scores = self.scores
        if scores is not None:
            values = np.asarray(scores, dtype=np.float64)
            nan, large = np.isnan(values), np.isfinite(values) & (np.abs(values) > np.finfo(np.float32).max)
            if nan.any():
                raise ModelLoadError(f"tokenizer.ggml.scores: expected numbers, found NaN at index {int(nan.argmax())}")
            if large.any():
                raise ModelLoadError(f"tokenizer.ggml.scores: expected float32, found {values[large][0]}")

    def _numbers(self, name: str, kinds: str) -> Sequence[Any] | None:
        values = self.array(name)
        if values is None:
            return None
        kind = getattr(getattr(values, "dtype", None), "kind", None)
        if kind is not None and kind not in kinds:
            raise ModelLoadError(f"{PREFIX}{name}: expected {'integers' if 'i' in kinds else 'floats'}, found {kind!r}")
        if kind is None and len(values) > 0 and not isinstance(values[0], int if "i" in kinds else float):
            raise ModelLoadError(f"{PREFIX}{name}: expected numbers, found {type(values[0]).__name__}")
        if len(values) != len(self.texts):
            raise ModelLoadError(
                f"{PREFIX}{name} has {len(values)} entries, but tokenizer.ggml.tokens has {len(self.texts)}"
            )
        return values

    @property
    def merges(self) -> Sequence[bytes]:
        """The merges of a byte-pair vocabulary, best first, each two texts and a space between."""
        merges = self.array("merges")
        if merges is None:
            raise ModelLoadError("tokenizer.ggml.merges: expected an array of strings, found none")
        if len(merges) and not isinstance(merges[0], bytes):
            raise ModelLoadError(f"tokenizer.ggml.merges: expected strings, found {type(merges[0]).__name__}")
        return merges


def as_list(values: Sequence[Any]) -> list[Any]:
    """Plain Python numbers, whatever kind of array the file's reader gave."""
    return values.tolist() if hasattr(values, "tolist") else list(values)
