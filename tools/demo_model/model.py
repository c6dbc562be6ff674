"""The llama architecture in PyTorch, in the tensor layout and with the RoPE pairs that a GGUF file has."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class ModelConfig:
    """Hyper-parameters, named after the GGUF keys they become."""

    vocab_size: int = 2048
    embedding_length: int = 256
    block_count: int = 5
    feed_forward_length: int = 512
    head_count: int = 4
    head_count_kv: int = 2
    context_length: int = 1024
    rope_freq_base: float = 10000.0
    rms_epsilon: float = 1e-5

    @property
    def head_dim(self) -> int:
        return self.embedding_length // self.head_count


def rope_tables(config: ModelConfig, num_positions: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each float32 [num_positions, head_dim / 2] (Su et al. 2021, arXiv:2104.09864)."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    angles = torch.outer(torch.arange(num_positions, dtype=torch.float32), config.rope_freq_base**-exponents)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (2i, 2i + 1) of x [batch, heads, tokens, head_dim]: GGUF's "norm" layout, nothing permuted."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


class Block(nn.Module):
    """Pre-norm grouped-query attention and a SwiGLU feed-forward, both residual."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim, kv_dim, ff = config.embedding_length, config.head_count_kv * config.head_dim, config.feed_forward_length
        self.config = config
        self.attn_norm = nn.RMSNorm(dim, config.rms_epsilon)
        self.attn_q = nn.Linear(dim, dim, bias=False)
        self.attn_k = nn.Linear(dim, kv_dim, bias=False)
        self.attn_v = nn.Linear(dim, kv_dim, bias=False)
        self.attn_output = nn.Linear(dim, dim, bias=False)
        self.ffn_norm = nn.RMSNorm(dim, config.rms_epsilon)
        self.ffn_gate = nn.Linear(dim, ff, bias=False)
        self.ffn_up = nn.Linear(dim, ff, bias=False)
        self.ffn_down = nn.Linear(ff, dim, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self._attend(self.attn_norm(x), cos, sin)
        y = self.ffn_norm(x)
        return x + self.ffn_down(functional.silu(self.ffn_gate(y)) * self.ffn_up(y))

    def _attend(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        heads, kv_heads, head_dim = self.config.head_count, self.config.head_count_kv, self.config.head_dim
        query = rotate(self.attn_q(x).view(batch, tokens, heads, head_dim).transpose(1, 2), cos, sin)
        key = rotate(self.attn_k(x).view(batch, tokens, kv_heads, head_dim).transpose(1, 2), cos, sin)
        value = self.attn_v(x).view(batch, tokens, kv_heads, head_dim).transpose(1, 2)
        repeats = heads // kv_heads
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
        # Plain products: on a CPU, with short rows and bfloat16, they take half the time of PyTorch's fused attention.
        scores = (query * head_dim**-0.5).to(value.dtype) @ key.to(value.dtype).transpose(-1, -2) + self._mask(
            tokens, value.dtype
        )
        mixed = torch.softmax(scores, dim=-1, dtype=value.dtype) @ value
        return self.attn_output(mixed.transpose(1, 2).reshape(batch, tokens, dim))

    @staticmethod
    def _mask(tokens: int, dtype: torch.dtype) -> Tensor:
        return torch.full((tokens, tokens), float("-inf"), dtype=dtype).triu(1)


class Model(nn.Module):
    """Token ids [batch, tokens] to logits [batch, tokens, vocab]; the output matrix is the embedding."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embd = nn.Embedding(config.vocab_size, config.embedding_length)
        self.blk = nn.ModuleList(Block(config) for _ in range(config.block_count))
        self.output_norm = nn.RMSNorm(config.embedding_length, config.rms_epsilon)
        cos, sin = rope_tables(config, config.context_length)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self._initialise()

    def _initialise(self) -> None:
        depth_scale = (2 * self.config.block_count) ** -0.5
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                residual = name.endswith(("attn_output.weight", "ffn_down.weight"))
                nn.init.normal_(parameter, std=0.03 * (depth_scale if residual else 1.0))

    def forward(self, ids: Tensor) -> Tensor:
        tokens = ids.shape[1]
        x = self.token_embd(ids)
        for block in self.blk:
            x = block(x, self.cos[:tokens], self.sin[:tokens])
        return functional.linear(self.output_norm(x), self.token_embd.weight)
