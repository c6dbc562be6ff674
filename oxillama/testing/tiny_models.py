"""Llama models of a few kilobytes with random weights, for tests that need a model but no sense."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from oxillama.gguf_writer import GGUFWriter
from oxillama.testing.random_blocks import FORMATS

# Ids of the byte-level vocabulary: unknown, begin, end, then one token per byte.
UNKNOWN, BOS, EOS, FIRST_BYTE = 0, 1, 2, 3
N_BYTE_VOCAB = FIRST_BYTE + 256


@dataclass(frozen=True)
class TinyModel:
    """The shape of a model. Lengths in values; `type_name` is the type of every matrix whose rows allow it.

    With `tokenizer` the vocabulary is 256 byte tokens and three special ones, and `n_vocab` is ignored."""

    architecture: str = "llama"  # or "qwen3"
    n_vocab: int = 80
    n_layers: int = 2
    n_embd: int = 64
    n_ff: int = 96
    n_head: int = 4
    n_head_kv: int = 2
    head_dim: int = 16
    n_ctx: int = 256
    type_name: str = "F32"
    v_type_name: str | None = None  # of attn_v alone, beside which q and k read the same activations
    window: int = 0
    tied: bool = False
    biases: bool = False
    tokenizer: bool = False
    seed: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def vocabulary_size(self) -> int:
        return N_BYTE_VOCAB if self.tokenizer else self.n_vocab

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes as NumPy has them, rows first, in file order."""
        q_rows, kv_rows = self.n_head * self.head_dim, self.n_head_kv * self.head_dim
        shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (self.vocabulary_size, self.n_embd)}
        for layer in range(self.n_layers):
            matrices = {
                "attn_q": (q_rows, self.n_embd),
                "attn_k": (kv_rows, self.n_embd),
                "attn_v": (kv_rows, self.n_embd),
                "attn_output": (self.n_embd, q_rows),
                "ffn_gate": (self.n_ff, self.n_embd),
                "ffn_up": (self.n_ff, self.n_embd),
                "ffn_down": (self.n_embd, self.n_ff),
            }
            for name, shape in matrices.items():
                shapes[f"blk.{layer}.{name}.weight"] = shape
                if self.biases:
                    shapes[f"blk.{layer}.{name}.bias"] = shape[:1]
            for name in ("attn_norm", "ffn_norm"):
                shapes[f"blk.{layer}.{name}.weight"] = (self.n_embd,)
            if self.architecture == "qwen3":
                for name in ("attn_q_norm", "attn_k_norm"):
                    shapes[f"blk.{layer}.{name}.weight"] = (self.head_dim,)
        shapes["output_norm.weight"] = (self.n_embd,)
        if not self.tied:
            shapes["output.weight"] = (self.vocabulary_size, self.n_embd)
        return shapes

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes the GGUF file. The same shape and seed give the same bytes."""
        rng = np.random.default_rng(self.seed)
        with GGUFWriter(path) as writer:
            for key, value in self._metadata().items():
                writer.add(key, value)
            if self.tokenizer:
                add_byte_vocabulary(writer)
            for name, shape in self.tensor_shapes().items():
                if len(shape) == 1:
                    # Norm weights near 1, biases near 0.
                    centre = 1.0 if name.endswith(".weight") else 0.0
                    writer.add_tensor(name, (centre + 0.2 * rng.standard_normal(shape)).astype(np.float32))
                    continue
                rows, k = shape
                type_name = self.v_type_name if self.v_type_name and "attn_v" in name else self.type_name
                type_name = type_name if k % FORMATS[type_name].block_size == 0 else "F16"
                blocks = FORMATS[type_name]
                # Sharp enough that attention and logits are not flat.
                data = blocks.fill(rng, rows * k // blocks.block_size, 1.5 / np.sqrt(k))
                writer.add_tensor(name, np.ascontiguousarray(data), shape=(k, rows), type_name=type_name)

    def _metadata(self) -> dict[str, Any]:
        arch = self.architecture
        return {
            "general.architecture": self.architecture,
            "general.name": "tiny",
            f"{arch}.context_length": self.n_ctx,
            f"{arch}.block_count": self.n_layers,
            f"{arch}.embedding_length": self.n_embd,
            f"{arch}.feed_forward_length": self.n_ff,
            f"{arch}.attention.head_count": self.n_head,
            f"{arch}.attention.head_count_kv": self.n_head_kv,
            f"{arch}.attention.key_length": self.head_dim,
            f"{arch}.attention.value_length": self.head_dim,
            f"{arch}.attention.layer_norm_rms_epsilon": 1e-5,
            f"{arch}.rope.dimension_count": self.head_dim,
            **({f"{arch}.attention.sliding_window": self.window} if self.window else {}),
            **self.metadata,
        }


def add_byte_vocabulary(writer: GGUFWriter) -> None:
    """256 byte tokens behind three special ones."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    unknown, control, byte = 2, 3, 6
    writer.add("tokenizer.ggml.model", "llama")
    writer.add("tokenizer.ggml.tokens", pieces)
    writer.add("tokenizer.ggml.scores", np.zeros(len(pieces), np.float32))
    writer.add("tokenizer.ggml.token_type", np.array([unknown, control, control] + [byte] * 256, np.int32))
    writer.add("tokenizer.ggml.bos_token_id", BOS)
    writer.add("tokenizer.ggml.eos_token_id", EOS)
    writer.add("tokenizer.ggml.add_bos_token", True)
