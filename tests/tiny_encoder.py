"""Encoders of a few kilobytes with random weights, one for each order of layers and kind of positions."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from oxillama.gguf_writer import GGUFWriter
from oxillama.testing.random_blocks import FORMATS

Shapes = dict[str, tuple[int, ...]]
PAD, UNKNOWN, CLS, SEP = range(4)
WORDS = ("the", "fox", "bear", "ran", "sat", "hat", "who", "had", "a", "and", "far", "sea", "?", ".")


@dataclass(frozen=True)
class TinyEncoder:
    """architecture: bert, jina-bert-v2, nomic-bert-moe, neo-bert or gemma-embedding. labels: of a classifier, 0 without
    one; has_pooler: with a dense layer before it."""

    architecture: str = "bert"
    type_name: str = "F32"
    labels: int = 0
    has_pooler: bool = False
    n_embd: int = 64
    n_ff: int = 96
    n_layers: int = 2
    n_ctx: int = 256
    seed: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def n_vocab(self) -> int:
        return 4 + len(WORDS) + 26 * 2

    def write(self, path: str | os.PathLike[str]) -> None:
        rng = np.random.default_rng(self.seed)
        with GGUFWriter(path) as writer:
            for key, value in (self._metadata() | self.metadata).items():
                writer.add(key, value)
            for name, shape in self._shapes().items():
                if len(shape) == 1:
                    centre = 1.0 if name.endswith("norm.weight") else 0.0
                    writer.add_tensor(name, (centre + 0.2 * rng.standard_normal(shape)).astype(np.float32))
                    continue
                k = shape[-1]
                is_table = name.startswith(("position_embd", "token_types"))
                blocks = FORMATS["F32" if is_table or k % FORMATS[self.type_name].block_size else self.type_name]
                data = blocks.fill(rng, int(np.prod(shape)) // blocks.block_size, 1.5 / np.sqrt(k))
                type_name = "F32" if blocks is FORMATS["F32"] else self.type_name
                writer.add_tensor(name, np.ascontiguousarray(data), shape=shape[::-1], type_name=type_name)

    def _metadata(self) -> dict[str, Any]:
        arch = self.architecture
        letters = [chr(ord("a") + i) for i in range(26)]
        tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *("\u2581" + word for word in WORDS)]
        tokens += [*("\u2581" + letter + letter for letter in letters), *letters]
        own: dict[str, Any] = {
            "context_length": self.n_ctx,
            "block_count": self.n_layers,
            "embedding_length": self.n_embd,
            "feed_forward_length": self.n_ff,
            "attention.head_count": 4,
            "attention.causal": False,
            "attention.layer_norm_epsilon": 1e-5,
            "attention.layer_norm_rms_epsilon": 1e-5,
        }
        if arch == "nomic-bert-moe":
            own |= {"moe_every_n_layers": 2, "expert_count": 4, "expert_used_count": 2}
        if arch == "gemma-embedding":
            own |= {"attention.sliding_window": 8, "attention.head_count_kv": 2}
        if not self.labels:
            own["pooling_type"] = 1
        return {
            "general.architecture": arch,
            **{f"{arch}.{name}": value for name, value in own.items()},
            "tokenizer.ggml.model": "bert",
            "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.token_type": np.array([3] * 4 + [1] * (len(tokens) - 4), np.int32),
            "tokenizer.ggml.bos_token_id": CLS,
            "tokenizer.ggml.seperator_token_id": SEP,
            "tokenizer.ggml.unknown_token_id": UNKNOWN,
            "tokenizer.ggml.padding_token_id": PAD,
        }

    def _shapes(self) -> Shapes:
        n, n_ff = self.n_embd, self.n_ff
        has_norm_before = self.architecture in ("neo-bert", "gemma-embedding")
        shapes: Shapes = {"token_embd.weight": (self.n_vocab, n)}
        if self.architecture == "bert":
            shapes["position_embd.weight"] = (self.n_ctx, n)
        if not has_norm_before:
            shapes |= {"token_types.weight": (2, n), "token_embd_norm.weight": (n,), "token_embd_norm.bias": (n,)}
        for layer in range(self.n_layers):
            block: Shapes = {}
            match self.architecture:
                case "bert" | "jina-bert-v2":
                    block |= {f"attn_{part}.weight": (n, n) for part in "qkv"}
                    block |= {f"attn_{part}.bias": (n,) for part in "qkv"}
                case "gemma-embedding":
                    block |= {"attn_q.weight": (n, n), "attn_k.weight": (n // 2, n), "attn_v.weight": (n // 2, n)}
                    block |= {f"attn_{part}_norm.weight": (n // 4,) for part in "qk"}
                case _:
                    block["attn_qkv.weight"] = (3 * n, n)
            block["attn_output.weight"] = (n, n)
            if self.architecture == "nomic-bert-moe" and layer == 1:
                block |= {"ffn_gate_inp.weight": (4, n), "ffn_up_exps.weight": (4, n_ff, n)}
                block["ffn_down_exps.weight"] = (4, n, n_ff)
            else:
                is_fused = self.architecture in ("jina-bert-v2", "neo-bert")
                block["ffn_up.weight"] = (2 * n_ff if is_fused else n_ff, n)
                block["ffn_down.weight"] = (n, n_ff)
                if self.architecture == "gemma-embedding":
                    block["ffn_gate.weight"] = (n_ff, n)
            norms = ["attn_norm", "ffn_norm"] if has_norm_before else ["attn_output_norm", "layer_output_norm"]
            norms += ["post_attention_norm", "post_ffw_norm"] if self.architecture == "gemma-embedding" else []
            block |= {f"{name}.weight": (n,) for name in norms}
            block |= {} if has_norm_before else {f"{name}.bias": (n,) for name in norms}
            shapes |= {f"blk.{layer}.{name}": shape for name, shape in block.items()}
        if has_norm_before:
            shapes["enc.output_norm.weight" if self.architecture == "neo-bert" else "output_norm.weight"] = (n,)
        if self.architecture == "gemma-embedding":
            shapes |= {"dense_2.weight": (2 * n, n), "dense_3.weight": (n, 2 * n)}
        if self.labels:
            shapes |= {"cls.output.weight": (self.labels, n), "cls.output.bias": (self.labels,)}
        if self.has_pooler:
            shapes |= {"cls.weight": (n, n), "cls.bias": (n,)}
        return shapes
