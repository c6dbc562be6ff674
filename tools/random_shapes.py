"""Shapes of real models, for files with random weights: hyper-parameters, and the tensors that a family has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Sizes = dict[str, tuple[int, ...]]  # rows first, by the tensor's name


@dataclass(frozen=True)
class Scan:
    """Mamba-2's recurrence: taps of its convolution, channels, values of a state, heads, groups of them."""

    taps: int
    inner: int
    state: int
    heads: int
    groups: int

    def tensors(self, dim: int) -> Sizes:
        mixed = self.inner + 2 * self.groups * self.state
        return {
            "ssm_in.weight": (self.inner + mixed + self.heads, dim),
            "ssm_conv1d.weight": (mixed, self.taps),
            "ssm_conv1d.bias": (mixed,),
            "ssm_dt.bias": (self.heads,),
            "ssm_a": (self.heads, 1),
            "ssm_d": (self.heads, 1),
            "ssm_norm.weight": (self.groups, self.inner // self.groups),
            "ssm_out.weight": (dim, self.inner),
        }

    def keys(self) -> dict[str, int]:
        return {
            "ssm.conv_kernel": self.taps,
            "ssm.inner_size": self.inner,
            "ssm.state_size": self.state,
            "ssm.time_step_rank": self.heads,
            "ssm.group_count": self.groups,
        }


@dataclass(frozen=True)
class Shape:
    """Hyper-parameters of a model family member; lengths in values.

    qk_norm: "head", one weight for each value of a head, or "row", for each of all heads. With experts,
    feed_forward_length is of each of them. oss: sinks, windows in every other layer, biases of all products. gemma:
    norms behind each part, too. convolution: taps of short convolutions, which stand in all layers but those of
    `attending`. scan: a recurrence in all layers instead of attention and feed-forward networks."""

    architecture: str
    embedding_length: int
    block_count: int
    feed_forward_length: int
    head_count: int
    head_count_kv: int
    head_dim: int
    vocab_size: int
    rope_freq_base: float
    tied: bool = True
    qk_norm: str | None = None
    context_length: int = 8192
    experts: int = 0
    experts_used: int = 0
    oss: bool = False
    gemma: bool = False
    qkv_bias: bool = False
    window: int = 0
    convolution: int = 0
    attending: tuple[int, ...] = ()
    scan: Scan | None = None

    def attends(self, block: int) -> bool:
        return self.scan is None and (not self.convolution or block in self.attending)


SHAPES = {
    "llama-1b": Shape("llama", 2048, 16, 8192, 32, 8, 64, 128256, 500000.0),
    "qwen3-0.6b": Shape("qwen3", 1024, 28, 3072, 16, 8, 128, 151936, 1000000.0, qk_norm="head"),
    "qwen2.5-1.5b": Shape("qwen2", 1536, 28, 8960, 12, 2, 128, 151936, 1000000.0, qkv_bias=True),
    "gemma3-1b": Shape("gemma3", 1152, 26, 6912, 4, 1, 256, 262144, 1000000.0, qk_norm="head", gemma=True, window=512),
    "llama-8b": Shape("llama", 4096, 32, 14336, 32, 8, 128, 128256, 500000.0, tied=False),
    "llama-tiny": Shape("llama", 256, 2, 512, 4, 2, 64, 1024, 10000.0, context_length=512),
    "olmoe-1b-7b": Shape("olmoe", 2048, 16, 1024, 16, 16, 128, 50304, 10000.0, False, "row", 4096, 64, 8),
    "qwen3-30b-a3b": Shape("qwen3moe", 2048, 48, 768, 32, 4, 128, 151936, 1000000.0, False, "head", 8192, 128, 8),
    "gpt-oss-20b": Shape(
        "gpt-oss", 2880, 24, 2880, 64, 8, 64, 201088, 150000.0, False, None, 8192, 32, 4, oss=True, window=128
    ),
    "mamba2-780m": Shape("mamba2", 1536, 48, 0, 0, 0, 0, 50288, 0.0, scan=Scan(4, 3072, 128, 48, 1)),
    "lfm2-700m": Shape(
        *("lfm2", 1536, 16, 6912, 24, 8, 64, 65536, 1000000.0),
        qk_norm="head",
        convolution=3,
        attending=(2, 5, 8, 10, 12, 14),
    ),
    "olmoe-tiny": Shape("olmoe", 256, 2, 256, 4, 4, 64, 1024, 10000.0, False, "row", 512, 8, 2),
    "gpt-oss-tiny": Shape(
        "gpt-oss", 256, 2, 256, 4, 2, 64, 1024, 10000.0, False, None, 512, 8, 2, oss=True, window=128
    ),
    "qwen2-tiny": Shape("qwen2", 256, 2, 512, 4, 2, 64, 1024, 10000.0, context_length=512, qkv_bias=True),
    "gemma3-tiny": Shape(
        *("gemma3", 256, 6, 512, 4, 1, 64, 1024, 10000.0), qk_norm="head", context_length=512, gemma=True, window=64
    ),
    "mamba2-tiny": Shape("mamba2", 256, 2, 0, 0, 0, 0, 1024, 0.0, context_length=512, scan=Scan(4, 512, 16, 8, 1)),
    "lfm2-tiny": Shape(
        *("lfm2", 256, 2, 512, 4, 2, 64, 1024, 10000.0),
        qk_norm="head",
        context_length=512,
        convolution=3,
        attending=(1,),
    ),
}


def tensor_shapes(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes (rows, columns) of all tensors, in file order."""
    dim = shape.embedding_length
    yield "token_embd.weight", (shape.vocab_size, dim)
    for block in range(shape.block_count):
        sizes: Sizes = {"attn_norm.weight": (dim,)}
        if shape.scan:
            sizes |= shape.scan.tensors(dim)
        else:
            sizes |= _attention(shape) if shape.attends(block) else _convolution(shape)
            sizes |= _feed_forward(shape)
        for part, size in sizes.items():
            yield f"blk.{block}.{part}", size
    yield "token_embd_norm.weight" if shape.convolution else "output_norm.weight", (dim,)
    if not shape.tied:
        yield "output.weight", (shape.vocab_size, dim)


def _biased(shape: Shape, name: str, rows: int, k: int, *, bias: bool = False) -> Sizes:
    return {f"{name}.weight": (rows, k)} | ({f"{name}.bias": (rows,)} if bias or shape.oss else {})


def _attention(shape: Shape) -> Sizes:
    dim = shape.embedding_length
    q_dim, kv_dim = shape.head_count * shape.head_dim, shape.head_count_kv * shape.head_dim
    sizes = _biased(shape, "attn_q", q_dim, dim, bias=shape.qkv_bias)
    sizes |= _biased(shape, "attn_k", kv_dim, dim, bias=shape.qkv_bias)
    sizes |= _biased(shape, "attn_v", kv_dim, dim, bias=shape.qkv_bias) | _biased(shape, "attn_output", dim, q_dim)
    if shape.qk_norm == "head":
        sizes |= {"attn_q_norm.weight": (shape.head_dim,), "attn_k_norm.weight": (shape.head_dim,)}
    elif shape.qk_norm == "row":
        sizes |= {"attn_q_norm.weight": (q_dim,), "attn_k_norm.weight": (kv_dim,)}
    return sizes | ({"attn_sinks.weight": (shape.head_count,)} if shape.oss else {})


def _convolution(shape: Shape) -> Sizes:
    dim = shape.embedding_length
    return {
        "shortconv.in_proj.weight": (3 * dim, dim),
        "shortconv.conv.weight": (dim, shape.convolution),
        "shortconv.out_proj.weight": (dim, dim),
    }


def _feed_forward(shape: Shape) -> Sizes:
    dim, ff, n = shape.embedding_length, shape.feed_forward_length, shape.experts
    sizes: Sizes = {"post_attention_norm.weight" if shape.oss else "ffn_norm.weight": (dim,)}
    if shape.gemma:
        sizes |= {"post_attention_norm.weight": (dim,), "post_ffw_norm.weight": (dim,)}
    if not n:
        sizes |= _biased(shape, "ffn_gate", ff, dim) | _biased(shape, "ffn_up", ff, dim)
        return sizes | _biased(shape, "ffn_down", dim, ff)
    sizes |= _biased(shape, "ffn_gate_inp", n, dim)
    for name, rows, k in (("gate", ff, dim), ("up", ff, dim), ("down", dim, ff)):
        sizes[f"ffn_{name}_exps.weight"] = (n, rows, k)
        sizes |= {f"ffn_{name}_exps.bias": (n, rows)} if shape.oss else {}
    return sizes


def numbers(shape: Shape) -> dict[str, int | list[int]]:
    """The integers of the metadata, by key without the family's name."""
    found: dict[str, int | list[int]] = {
        "vocab_size": shape.vocab_size,
        "context_length": shape.context_length,
        "embedding_length": shape.embedding_length,
        "block_count": shape.block_count,
        "feed_forward_length": shape.feed_forward_length,
        "attention.head_count": shape.head_count,
    }
    if shape.scan:
        return found | shape.scan.keys()
    if shape.convolution:
        heads = [shape.head_count_kv if shape.attends(block) else 0 for block in range(shape.block_count)]
        return found | {"attention.head_count_kv": heads, "shortconv.l_cache": shape.convolution}
    found |= {
        "attention.head_count_kv": shape.head_count_kv,
        "attention.key_length": shape.head_dim,
        "attention.value_length": shape.head_dim,
        "rope.dimension_count": shape.head_dim,
    }
    if shape.experts:
        found |= {"expert_count": shape.experts, "expert_used_count": shape.experts_used}
        found |= {"expert_feed_forward_length": shape.feed_forward_length}
    if shape.window:
        found |= {"attention.sliding_window": shape.window}
    return found
