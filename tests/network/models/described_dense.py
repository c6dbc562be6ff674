"""Tiny models of dense families without recorded files, and of options that the recorded ones do not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from oxillama.testing.described_models import DescribedModel
from tests.network.models.described import BASE, EXPERTS

DENSE_RECORDED = Path(__file__).resolve().parents[2] / "data" / "dense_logits.npz"  # by tools/record_logits.py
# Families with GELU, of which llama.cpp's reads a table of 16-bit numbers.
GELU = ("bloom", "codeshell", "falcon", "gptneox", "mpt")

LAYER_NORM: dict[str, Any] = {"attention.layer_norm_rms_epsilon": None, "attention.layer_norm_epsilon": 1e-5}
NO_ROPE: dict[str, Any] = {"rope.dimension_count": None, "rope.freq_base": None}
GATE = r".*ffn_gate\.weight"
BIASES = r".*(norm|attn_qkv|attn_q|attn_k|attn_v|attn_output|ffn_up|ffn_down|ffn_gate)\.bias"
NORM_BIASES = r".*norm(_2)?\.bias"
QKV = r".*attn_qkv\.weight"
QKV_BIASES = r".*attn_(q|k|v)\.bias"
QK_NORMS = r".*attn_(q|k)_norm\.weight"
ALL_HEADS: dict[str, Any] = {"attention.head_count_kv": 4}


def model(architecture: str, *parts: dict[str, Any], options: tuple[str, ...] = (), **fields: Any) -> DescribedModel:
    """BASE with these keys, of which None takes one away."""
    keys: dict[str, Any] = {}
    for part in (BASE, *parts):
        keys |= part
    keys = {key: value for key, value in keys.items() if value is not None}
    # Cohere's families have no output matrix of their own.
    output = () if architecture == "command-r" else (r"output\.weight",)
    return DescribedModel(architecture, keys, (*output, *options), tokenizer=True, **fields)


DENSE = {
    "apertus": model(
        "apertus",
        options=(QK_NORMS,),
        others={
            "xielu.alpha_n": np.array([0.5, 0.8, -0.3, 1.1], np.float32),
            "xielu.alpha_p": np.array([0.7, -0.2, 0.4, 0.9], np.float32),
            "xielu.beta": np.array([0.5, 0.4, 0.6, 0.5], np.float32),
            "xielu.eps": np.full(4, -1e-6, np.float32),
        },
    ),
    "arcee": model("arcee"),
    "baichuan-7b": model("baichuan", {"block_count": 32}, options=(GATE,)),
    "baichuan-13b": model("baichuan", {"block_count": 40}, options=(GATE,)),
    "bloom": model("bloom", LAYER_NORM, NO_ROPE, ALL_HEADS, options=(QKV, BIASES)),
    "bloom-6-heads": model(
        "bloom",
        LAYER_NORM,
        NO_ROPE,
        {"embedding_length": 96, "attention.head_count": 6, "attention.head_count_kv": 6},
        options=(QKV, BIASES),
    ),
    "chatglm": model("chatglm", {"rope.dimension_count": 8}, options=(QKV, r".*attn_qkv\.bias")),
    "codeshell": model("codeshell", LAYER_NORM, options=(BIASES,)),
    "command-r-plus": model(
        "command-r", LAYER_NORM, {"block_count": 64, "logit_scale": 0.8}, options=(GATE, QK_NORMS)
    ),
    "ernie4_5": model("ernie4_5", options=(GATE,)),
    "exaone4": model("exaone4", {"attention.sliding_window": 8}, options=(GATE, QK_NORMS)),
    "exaone4-32b": model(
        "exaone4", {"block_count": 64, "attention.sliding_window": 8}, options=(GATE, QK_NORMS)
    ),
    "falcon-40b": model("falcon", LAYER_NORM, options=(QKV, NORM_BIASES, r".*attn_norm_2\.weight")),
    "glm4-tied-heads": model("glm4", {"rope.dimension_count": 8}, options=(QKV_BIASES,)),
    "gptneox-in-turn": model(
        "gptneox", LAYER_NORM, ALL_HEADS, {"use_parallel_residual": False}, options=(QKV, BIASES)
    ),
    "granite-without-positions": model(
        "granite", {"rope.scaling.finetuned": False, "logit_scale": 2.0}, options=(GATE,)
    ),
    "granitemoe-shared": model(
        "granitemoe",
        EXPERTS,
        {
            "logit_scale": 2.0,
            "residual_scale": 0.5,
            "embedding_scale": 3.0,
            "expert_feed_forward_length": None,
            "expert_shared_feed_forward_length": 40,
        },
        options=(r".*ffn_gate_(exps|shexp)\.weight",),
    ),
    "granite_swa-experts": model(
        "granite_swa",
        EXPERTS,
        {
            "logit_scale": 2.0,
            "expert_feed_forward_length": None,
            "expert_shared_feed_forward_length": 40,
            "attention.sliding_window": 8,
            "attention.sliding_window_pattern": [True, False, True, False],
            "attention.rope_pattern": [True, True, False, True],
        },
        options=(r".*ffn_gate_up_exps\.weight",),
    ),
    "hunyuan-dense": model("hunyuan-dense", options=(GATE, QK_NORMS)),
    "hunyuan-dense-alpha": model("hunyuan_vl", {"rope.scaling.alpha": 50.0}, options=(GATE, QK_NORMS)),
    "jais": model(
        "jais", LAYER_NORM, NO_ROPE, ALL_HEADS, {"attention.max_alibi_bias": 8.0}, options=(QKV, BIASES, GATE)
    ),
    "jais2": model("jais2", LAYER_NORM, options=(BIASES,)),
    "minicpm3": model(
        "minicpm3",
        ALL_HEADS,
        {
            "attention.q_lora_rank": 24,
            "attention.kv_lora_rank": 32,
            "attention.key_length": 24,
            "attention.value_length": 20,
            "rope.dimension_count": 8,
        },
        options=(GATE, r".*attn_kv_b\.weight"),
    ),
    "mpt": model(
        "mpt",
        LAYER_NORM,
        NO_ROPE,
        ALL_HEADS,
        {"attention.max_alibi_bias": 8.0, "attention.clamp_kqv": 0.7},
        options=(QKV,),
    ),
    "nemotron": model("nemotron", LAYER_NORM, {"rope.dimension_count": 8}, options=(BIASES,)),
    "olmo": model("olmo", LAYER_NORM, {"attention.clamp_kqv": 0.7}, options=(GATE,)),
    "olmo3-yarn": model(
        "olmo2",
        {
            "attention.sliding_window": 8,
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": 4.0,
            "rope.scaling.original_context_length": 64,
            "rope.scaling.attn_factor": 1.2,
        },
        options=(GATE, QK_NORMS),
    ),
    "olmo3": model("olmo2", {"attention.sliding_window": 8}, options=(GATE, QK_NORMS)),
    "orion": model("orion", LAYER_NORM, options=(GATE, NORM_BIASES)),
    "plamo": model("plamo", options=(GATE,)),
    "qwen": model("qwen", ALL_HEADS, options=(QKV, r".*attn_qkv\.bias", GATE)),
    "refact": model("refact", NO_ROPE, {"attention.head_count_kv": 1}, options=(GATE,)),
    "seed_oss": model(
        "seed_oss",
        {"attention.key_length": 24, "attention.value_length": 24, "rope.dimension_count": 24},
        options=(GATE, QKV_BIASES),
    ),
    "stablelm-12b": model(
        "stablelm",
        LAYER_NORM,
        {"use_parallel_residual": True, "rope.dimension_count": 8},
        options=(GATE, r".*attn_norm\.bias", r"output_norm\.bias", QK_NORMS),
    ),
    "xverse": model("xverse", options=(GATE,)),
}  # fmt: skip

# Of families with recorded files: operations that no other model here has, to be computed in any company.
IN_COMPANY = {
    "gemma3n": model(
        "gemma3n",
        {
            "altup.active_idx": 0,
            "altup.num_inputs": 4,
            "attention.shared_kv_layers": 1,
            "attention.sliding_window": 8,
            "attention.sliding_window_pattern": [True, False, True, False],
            "activation_sparsity_scale": np.array([1.0, 0.5, -np.inf, -np.inf], np.float32),
            "embedding_length_per_layer_input": 16,
            "rope.freq_base_swa": 500.0,
        },
        options=(GATE,),
    ),
    "gemma4": model(
        "gemma4",
        EXPERTS,
        {
            "attention.shared_kv_layers": 2,
            "attention.key_length": 32,
            "attention.value_length": 32,
            "attention.key_length_swa": 16,
            "attention.value_length_swa": 16,
            "attention.sliding_window": 8,
            "attention.sliding_window_pattern": [True, False, True, False],
            "embedding_length_per_layer_input": 16,
            "rope.dimension_count": 32,
            "rope.dimension_count_swa": 16,
        },
        options=(GATE, r"blk\.[02]\.(ffn_gate_inp|ffn_gate_up_exps|attn_v)\.weight", r".*layer_output_scale\.weight"),
    ),
}
