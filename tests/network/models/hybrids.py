"""Tiny files of recurrent and hybrid families, with values that anybody can make again: NumPy's generator and a seed.

Keys and shapes are those that llama.cpp's converter writes for published configurations, in other sizes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from oxillama.gguf_writer import GGUFWriter

N_VOCAB, WIDTH, N_FF = 96, 64, 80
# What the recorded logits are those of, and the rows that are recorded.
PROMPT = [(7 * i * i + 3 * i + 1) % N_VOCAB for i in range(40)]
RECORDED = [0, 1, 5, 39]
Shapes = dict[str, tuple[int, ...]]  # in GGUF's order


@dataclass(frozen=True)
class Hybrid:
    architecture: str
    keys: dict[str, Any]
    shapes: Shapes


def common(architecture: str, keys: dict[str, Any], layers: list[Shapes], **outer: tuple[int, ...]) -> Hybrid:
    shapes: Shapes = {"token_embd.weight": (WIDTH, N_VOCAB), "output_norm.weight": (WIDTH,)}
    shapes |= {name.replace("__", "."): shape for name, shape in outer.items()}
    for i, layer in enumerate(layers):
        shapes |= {f"blk.{i}.{name}": shape for name, shape in layer.items()}
    base = {"block_count": len(layers), "context_length": 512, "embedding_length": WIDTH, "vocab_size": N_VOCAB}
    return Hybrid(architecture, base | keys, shapes)


def norm(name: str, width: int = WIDTH) -> Shapes:
    return {f"{name}.weight": (width,)}


def linear(name: str, k: int, rows: int, *, bias: bool = False) -> Shapes:
    return {f"{name}.weight": (k, rows)} | ({f"{name}.bias": (rows,)} if bias else {})


def attention(
    n_head: int = 4, n_head_kv: int = 2, dim: int = 16, *, qk_norm: bool = False, gated: bool = False
) -> Shapes:
    shapes = linear("attn_q", WIDTH, n_head * dim * (2 if gated else 1)) | linear("attn_k", WIDTH, n_head_kv * dim)
    shapes |= linear("attn_v", WIDTH, n_head_kv * dim) | linear("attn_output", n_head * dim, WIDTH)
    return shapes | (norm("attn_q_norm", dim) | norm("attn_k_norm", dim) if qk_norm else {})


def ffn(n_ff: int = N_FF, suffix: str = "") -> Shapes:
    gates = linear(f"ffn_gate{suffix}", WIDTH, n_ff) | linear(f"ffn_up{suffix}", WIDTH, n_ff)
    return gates | linear(f"ffn_down{suffix}", n_ff, WIDTH)


def experts(n: int, n_ff: int, *, bias: bool = False) -> Shapes:
    shapes: Shapes = {"ffn_gate_inp.weight": (WIDTH, n)}
    shapes |= {f"ffn_{name}_exps.weight": (WIDTH, n_ff, n) for name in ("gate", "up")}
    shapes["ffn_down_exps.weight"] = (n_ff, WIDTH, n)
    return shapes | ({"exp_probs_b.bias": (n,)} if bias else {})


def mamba(inner: int, n_state: int, rank: int, *, norms: bool = False) -> Shapes:
    shapes = linear("ssm_in", WIDTH, 2 * inner) | linear("ssm_x", inner, rank + 2 * n_state)
    shapes |= linear("ssm_dt", rank, inner, bias=True) | linear("ssm_out", inner, WIDTH)
    shapes |= linear("ssm_conv1d", 4, inner, bias=True) | {"ssm_a": (n_state, inner), "ssm_d": (inner,)}
    if norms:
        shapes |= norm("ssm_dt_norm", rank) | norm("ssm_b_norm", n_state) | norm("ssm_c_norm", n_state)
    return shapes


def mamba2(inner: int, n_state: int, n_heads: int, n_groups: int, *, has_norm: bool = True) -> Shapes:
    mixed = inner + 2 * n_groups * n_state
    shapes = linear("ssm_in", WIDTH, inner + mixed + n_heads) | linear("ssm_conv1d", 4, mixed, bias=True)
    shapes |= {"ssm_dt.bias": (n_heads,), "ssm_a": (1, n_heads), "ssm_d": (1, n_heads)}
    shapes |= {"ssm_norm.weight": (inner // n_groups, n_groups)} if has_norm else {}
    return shapes | linear("ssm_out", inner, WIDTH)


RMS = {"attention.layer_norm_rms_epsilon": 1e-5}


def ssm(inner: int, n_state: int, rank: int, n_groups: int | None = None) -> dict[str, int]:
    keys = {"conv_kernel": 4, "inner_size": inner, "state_size": n_state, "time_step_rank": rank}
    return {f"ssm.{name}": n for name, n in keys.items() | ({("group_count", n_groups)} if n_groups else set())}


def falcon_mamba() -> Hybrid:
    keys = RMS | ssm(2 * WIDTH, 12, 5) | {"ssm.dt_b_c_rms": True, "attention.head_count": 0, "feed_forward_length": 0}
    return common("mamba", keys, [norm("attn_norm") | mamba(2 * WIDTH, 12, 5)] * 2)


def jamba() -> Hybrid:
    keys = RMS | ssm(2 * WIDTH, 12, 5) | {"attention.head_count": 4, "attention.head_count_kv": [0, 2, 0]}
    keys |= {"feed_forward_length": N_FF, "expert_count": 4, "expert_used_count": 2}
    norms = norm("attn_norm") | norm("ffn_norm")
    recurrent = norms | mamba(2 * WIDTH, 12, 5, norms=True)
    return common("jamba", keys, [recurrent | ffn(), norms | attention() | experts(4, N_FF), recurrent | ffn()])


def granitehybrid(*, has_experts: bool, rotates: bool) -> Hybrid:
    keys = RMS | ssm(2 * WIDTH, 16, 8, 1) | {"attention.head_count": 4, "attention.head_count_kv": [0, 2]}
    keys |= {"feed_forward_length": N_FF, "attention.scale": 0.2, "residual_scale": 0.3, "embedding_scale": 2.5}
    keys |= {"logit_scale": 1.7, "rope.scaling.finetuned": rotates, "rope.dimension_count": 16}
    part = ffn()
    if has_experts:
        keys |= {"expert_count": 4, "expert_used_count": 2, "expert_shared_feed_forward_length": 48}
        part = experts(4, N_FF) | ffn(48, "_shexp")
    norms = norm("attn_norm") | norm("ffn_norm")
    layers = [norms | mamba2(2 * WIDTH, 16, 8, 1) | part, norms | attention() | part]
    return common("granitehybrid", keys, layers)


def falcon_h1() -> Hybrid:
    keys = RMS | ssm(WIDTH, 16, 4, 1) | {"attention.head_count": 4, "attention.head_count_kv": 2}
    keys |= {"feed_forward_length": N_FF, "attention.key_length": 24, "attention.value_length": 24}
    keys |= {"rope.freq_base": 1e5}
    # ffn_norm has no suffix in files of this family.
    layer = (
        norm("attn_norm") | {"ffn_norm": (WIDTH,)} | attention(dim=24) | mamba2(WIDTH, 16, 4, 1, has_norm=False) | ffn()
    )
    return common("falcon-h1", keys, [layer] * 2, output__weight=(WIDTH, N_VOCAB))


def lfm2moe() -> Hybrid:
    keys = RMS | {"attention.head_count": 4, "attention.head_count_kv": [0, 2, 0], "shortconv.l_cache": 3}
    keys |= {"feed_forward_length": N_FF, "expert_feed_forward_length": 40, "expert_count": 4, "expert_used_count": 2}
    keys |= {"leading_dense_block_count": 1, "expert_gating_func": 2, "rope.freq_base": 1e6}
    norms = norm("attn_norm") | norm("ffn_norm")
    convolution = norms | linear("shortconv.in_proj", WIDTH, 3 * WIDTH) | linear("shortconv.out_proj", WIDTH, WIDTH)
    convolution |= linear("shortconv.conv", 3, WIDTH)
    mixture = experts(4, 40, bias=True)
    layers = [convolution | ffn(), norms | attention(qk_norm=True) | mixture, convolution | mixture]
    made = common("lfm2moe", keys, layers, token_embd_norm__weight=(WIDTH,))
    del made.shapes["output_norm.weight"]
    return made


def qwen3next(*, is_old: bool) -> Hybrid:
    dim, n_heads, n_key_heads = 16, 4, 2
    keys = RMS | ssm(n_heads * dim, dim, n_heads, n_key_heads) | {"full_attention_interval": 2}
    keys |= {"attention.head_count": 4, "attention.head_count_kv": 2, "rope.dimension_count": 8, "rope.freq_base": 1e6}
    keys |= {"attention.key_length": 16, "attention.value_length": 16, "feed_forward_length": N_FF}
    keys |= {"expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 40}
    keys |= {"expert_shared_feed_forward_length": 48}
    mixed = (2 * n_key_heads + n_heads) * dim
    net = linear("ssm_conv1d", 4, mixed) | {"ssm_dt.bias": (n_heads,), "ssm_a": (n_heads,)} | norm("ssm_norm", dim)
    net |= linear("ssm_ba", WIDTH, 2 * n_heads) | linear("ssm_out", n_heads * dim, WIDTH)
    if is_old:
        net |= linear("ssm_in", WIDTH, mixed + n_heads * dim)
    else:
        net |= linear("attn_qkv", WIDTH, mixed) | linear("attn_gate", WIDTH, n_heads * dim)
    part = norm("attn_norm") | norm("post_attention_norm") | experts(4, 40) | ffn(48, "_shexp")
    part["ffn_gate_inp_shexp.weight"] = (WIDTH,)
    layers = [part | net, part | attention(qk_norm=True, gated=True)] * 2
    return common("qwen3next", keys, layers, output__weight=(WIDTH, N_VOCAB))


def nemotron_h_moe() -> Hybrid:
    """Experts in a narrower space, whose widths and numbers differ from layer to layer."""
    latent = 24
    keys: dict[str, Any] = (
        RMS | {"attention.layer_norm_epsilon": 1e-5} | ssm(WIDTH, 16, 4, 2) | {"attention.head_count": 4}
    )
    keys |= {"attention.head_count_kv": [0, 0, 2, 0], "feed_forward_length": [0, N_FF, 0, N_FF]}
    keys |= {"attention.key_length": 24, "attention.value_length": 24, "expert_weights_norm": True}
    keys |= {"expert_count": 4, "expert_used_count": [0, 2, 0, 3], "expert_feed_forward_length": [0, 40, 0, 56]}
    keys |= {"expert_shared_feed_forward_length": 48, "expert_weights_scale": 1.5, "moe_latent_size": latent}

    def mixture(n_ff: int) -> Shapes:
        shapes: Shapes = {"ffn_gate_inp.weight": (WIDTH, 4), "exp_probs_b.bias": (4,)}
        shapes |= linear("ffn_latent_down", WIDTH, latent) | linear("ffn_latent_up", latent, WIDTH)
        shapes |= {"ffn_up_exps.weight": (latent, n_ff, 4), "ffn_down_exps.weight": (n_ff, latent, 4)}
        return shapes | linear("ffn_up_shexp", WIDTH, 48) | linear("ffn_down_shexp", 48, WIDTH)

    parts = [mamba2(WIDTH, 16, 4, 2), mixture(40), attention(dim=24), mixture(56)]
    return common("nemotron_h_moe", keys, [norm("attn_norm") | part for part in parts])


def layer_norm(name: str) -> Shapes:
    return {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}


def rwkv(architecture: str, keys: dict[str, Any], layer: Shapes) -> Hybrid:
    keys |= {"attention.layer_norm_epsilon": 1e-5, "attention.head_count": 0, "feed_forward_length": N_FF}
    layer |= layer_norm("attn_norm") | layer_norm("attn_norm_2") | layer_norm("time_mix_ln")
    layer |= {f"time_mix_{name}.weight": (WIDTH, WIDTH) for name in ("key", "value", "receptance", "output")}
    layer |= linear("channel_mix_key", WIDTH, N_FF) | linear("channel_mix_value", N_FF, WIDTH)
    layer |= {"channel_mix_lerp_k.weight": (WIDTH,)}
    outer = {"output.weight": (WIDTH, N_VOCAB)} | layer_norm("token_embd_norm") | layer_norm("output_norm")
    return common(architecture, keys, [layer] * 2, **{name.replace(".", "__"): shape for name, shape in outer.items()})


def rwkv6_old() -> Hybrid:
    """With a constant of each mixture in a tensor of its own, and results halved behind every second layer."""
    keys = {"wkv.head_size": 16, "time_mix_extra_dim": 12, "time_decay_extra_dim": 8, "rescale_every_n_layers": 2}
    layer: Shapes = {f"time_mix_lerp_{part}.weight": (WIDTH,) for part in "xwkvrg"}
    layer |= linear("time_mix_w1", WIDTH, 60) | {"time_mix_w2.weight": (12, WIDTH, 5), "time_mix_first.weight": (16, 4)}
    layer |= {"time_mix_decay.weight": (WIDTH,), "time_mix_gate.weight": (WIDTH, WIDTH)}
    layer |= linear("time_mix_decay_w1", WIDTH, 8) | linear("time_mix_decay_w2", 8, WIDTH)
    layer |= {"channel_mix_lerp_r.weight": (WIDTH,), "channel_mix_receptance.weight": (WIDTH, WIDTH)}
    return rwkv("rwkv6", keys, layer)


HYBRIDS = {
    "falcon-mamba": falcon_mamba(),
    "jamba": jamba(),
    "granitehybrid": granitehybrid(has_experts=False, rotates=True),
    "granitehybrid-experts": granitehybrid(has_experts=True, rotates=False),
    "falcon-h1": falcon_h1(),
    "lfm2moe": lfm2moe(),
    "qwen3next": qwen3next(is_old=False),
    "qwen3next-old": qwen3next(is_old=True),
    "nemotron_h_moe-latent": nemotron_h_moe(),
    "rwkv6-old": rwkv6_old(),
}


def values(name: str, shape: tuple[int, ...], random: np.random.Generator) -> npt.NDArray[np.float32]:
    """float32 in NumPy's order: what tells one network from another, with rates that are decays."""
    drawn = random.standard_normal(shape[::-1])
    if name.endswith(("norm.weight", "ffn_norm")):
        drawn = 1 + 0.3 * drawn
    elif name.endswith("ssm_a"):
        drawn = -np.exp(0.7 * drawn - 1)
    elif name.endswith("ssm_dt.bias"):
        drawn = drawn - 2
    elif name.endswith(("conv1d.weight", "conv.weight")):
        drawn = 0.6 * drawn
    elif name.endswith(".weight"):
        drawn = drawn * 1.5 / shape[0] ** 0.5
    return drawn.astype(np.float32)


def write(hybrid: Hybrid, path: str | os.PathLike[str], **changes: Any) -> None:
    """changes: of keys of the architecture, with `__` for a dot; None leaves one out."""
    random = np.random.default_rng(7)
    keys = hybrid.keys | {name.replace("__", "."): value for name, value in changes.items()}
    with GGUFWriter(path) as writer:
        writer.add("general.architecture", hybrid.architecture)
        writer.add("tokenizer.ggml.model", "no_vocab")
        for name, value in keys.items():
            if value is not None:
                writer.add(f"{hybrid.architecture}.{name}", value)
        for name, shape in hybrid.shapes.items():
            writer.add_tensor(name, values(name, shape, random))
