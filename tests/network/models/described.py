"""Tiny models of families that have no recorded results: their keys, and what is special in their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from oxillama.testing.described_models import DescribedModel

RECORDED = Path(__file__).resolve().parents[2] / "data" / "logits.npz"  # by tools/record_logits.py
PROMPT = [int(token) for token in np.random.default_rng(1).integers(3, 259, 9000)]

BASE: dict[str, Any] = {
    "vocab_size": 259,
    "context_length": 256,
    "block_count": 4,
    "embedding_length": 64,
    "feed_forward_length": 96,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "rope.dimension_count": 16,
    "rope.freq_base": 10000.0,
}
EXPERTS: dict[str, Any] = {"expert_count": 6, "expert_used_count": 2, "expert_feed_forward_length": 48}
GATED = (r".*ffn_gate(_exps|_shexp)?\.weight",)
OUTPUT = ("output.weight",)
SELECTION = (r".*exp_probs_b\.bias",)
LATENT = {
    "attention.head_count_kv": 1,
    "attention.q_lora_rank": 24,
    "attention.kv_lora_rank": 32,
    "attention.key_length": 40,
    "attention.value_length": 32,
    "attention.key_length_mla": 24,
    "attention.value_length_mla": 20,
    "rope.dimension_count": 8,
    "leading_dense_block_count": 1,
    "expert_shared_count": 2,
    "expert_weights_scale": 1.5,
    "expert_weights_norm": True,
    "expert_gating_func": 2,
}
YARN = {
    "rope.scaling.type": "yarn",
    "rope.scaling.factor": 4.0,
    "rope.scaling.original_context_length": 64,
    "rope.scaling.yarn_log_multiplier": 0.0707,
}
OLD_LATENT = {
    "attention.head_count_kv": 4,
    "attention.key_length": 24,
    "attention.value_length": 20,
    "attention.key_length_mla": 0,
    "attention.value_length_mla": 0,
}


def model(architecture: str, *parts: dict[str, Any], options: tuple[str, ...] = (), **fields: Any) -> DescribedModel:
    keys: dict[str, Any] = {}
    for part in (BASE, *parts):
        keys |= part
    options = (*OUTPUT, *GATED, *options)
    return DescribedModel(architecture, keys, options, tokenizer=True, **fields)


MODELS = {
    "mixtral": model("llama", EXPERTS, {"expert_feed_forward_length": 96}),
    "olmoe": model("olmoe", EXPERTS, {"feed_forward_length": 48, "attention.head_count_kv": 4}),
    "dbrx": model(
        "dbrx",
        EXPERTS,
        {"feed_forward_length": 48, "attention.layer_norm_epsilon": 1e-5, "attention.clamp_kqv": 0.7},
        options=(r".*attn_qkv\.weight",),
    ),
    "dots1": model(
        "dots1",
        EXPERTS,
        {
            "attention.head_count_kv": 4,
            "leading_dense_block_count": 1,
            "expert_shared_count": 2,
            "expert_weights_norm": True,
            "expert_weights_scale": 2.5,
            "expert_gating_func": 2,
        },
        options=SELECTION,
    ),
    "ernie4_5-moe": model(
        "ernie4_5-moe",
        EXPERTS,
        {
            "expert_shared_feed_forward_length": 40,
            "interleave_moe_layer_step": 1,
            "leading_dense_block_count": 1,
            "expert_shared_count": 1,
        },
        options=SELECTION,
    ),
    "hunyuan-moe": model(
        "hunyuan-moe",
        EXPERTS,
        {"feed_forward_length": 48, "expert_shared_feed_forward_length": 40, "expert_shared_count": 1},
    ),
    "bailingmoe": model(
        "bailingmoe", EXPERTS, {"expert_shared_count": 2, "expert_weights_norm": True, "leading_dense_block_count": 0}
    ),
    "bailingmoe2": model(
        "bailingmoe2",
        EXPERTS,
        {
            "expert_count": 8,
            "expert_group_count": 4,
            "expert_group_used_count": 2,
            "expert_shared_count": 2,
            "expert_shared_feed_forward_length": 40,
            "expert_weights_norm": True,
            "expert_weights_scale": 2.5,
            "expert_gating_func": 2,
            "leading_dense_block_count": 1,
            "rope.dimension_count": 8,
        },
        options=(*SELECTION, r".*attn_qkv\.weight"),
    ),
    "grok": model(
        "grok",
        EXPERTS,
        {
            "attention.output_scale": 0.2,
            "attn_logit_softcapping": 3.0,
            "router_logit_softcapping": 3.0,
            "final_logit_softcapping": 5.0,
            "embedding_scale": 2.0,
            "logit_scale": 0.8,
        },
        options=(r"blk\.0\.ffn_up\.weight",),
    ),
    "grok-old": model(
        "grok", EXPERTS, {"expert_feed_forward_length": 96}, options=(r"blk\.\d\.layer_output_norm\.weight",)
    ),
    "arctic": model("arctic", EXPERTS, {"expert_feed_forward_length": 96}),
    "exaone-moe": model(
        "exaone-moe",
        EXPERTS,
        {
            "attention.sliding_window": 8,
            "expert_gating_func": 2,
            "expert_shared_count": 1,
            "expert_shared_feed_forward_length": 40,
            "expert_weights_norm": True,
            "expert_weights_scale": 2.5,
            "leading_dense_block_count": 1,
        },
        options=SELECTION,
    ),
    "cohere2moe": model(
        "cohere2moe",
        EXPERTS,
        {
            "attention.layer_norm_epsilon": 1e-5,
            "attention.sliding_window": 8,
            "block_count": 5,
            "expert_shared_count": 1,
            "expert_shared_feed_forward_length": 40,
            "expert_weights_norm": True,
            "leading_dense_block_count": 1,
            "logit_scale": 0.25,
        },
        options=(r"blk\.2\.ffn_gate_up_exps\.weight",),
    ),
    "deepseek2": model(
        "deepseek2", EXPERTS, LATENT, options=(*SELECTION, r".*attn_k_b\.weight", r".*ffn_gate_up_exps\.weight")
    ),
    "deepseek2-yarn": model(
        "deepseek2", EXPERTS, LATENT, YARN, options=(*SELECTION, r".*attn_k_b\.weight")
    ),
    "deepseek2-old": model("deepseek2", EXPERTS, LATENT, OLD_LATENT, YARN, options=SELECTION),
    "deepseek2-lite": model(
        "deepseek2",
        EXPERTS,
        LATENT,
        {"block_count": 27, "attention.q_lora_rank": 0, "expert_gating_func": 1, "expert_weights_norm": False},
        options=(r".*attn_k_b\.weight", r".*attn_q\.weight"),
    ),
    "step35": model(
        "step35",
        EXPERTS,
        {
            "attention.head_count": np.array([4, 6, 6, 4], np.int32),
            "attention.head_count_kv": np.array([2, 2, 2, 2], np.int32),
            "attention.key_length": 16,
            "attention.value_length": 16,
            "attention.sliding_window": 8,
            "attention.sliding_window_pattern": [False, True, True, False],
            "rope.freq_base_swa": 5000.0,
            "expert_shared_feed_forward_length": 40,
            "expert_weights_norm": True,
            "expert_weights_scale": 1.5,
            "expert_gating_func": 2,
            "leading_dense_block_count": 1,
            "swiglu_clamp_exp": np.array([0, 0.3, 0, 0.5], np.float32),
            "swiglu_clamp_shexp": np.array([0.4, 0, 0.2, 0.5], np.float32),
        },
        options=(*SELECTION, r"blk\.[123]\.ffn_gate_inp\.weight", r".*attn_(gate|q_norm|k_norm)\.weight",
                 r"rope_freqs\.weight"),
        constants={"rope_freqs.weight": 1.7},
    ),
    "glm4moe": model(
        "glm4moe",
        EXPERTS,
        {
            "expert_shared_count": 1,
            "expert_weights_scale": 1.5,
            "expert_weights_norm": True,
            "leading_dense_block_count": 2,
            "rope.dimension_count": 8,
        },
        options=(*SELECTION, r".*attn_(q|k|v)\.bias", r".*attn_(q_norm|k_norm)\.weight"),
    ),
    "llama4": model(
        "llama4",
        EXPERTS,
        {"expert_used_count": 1, "interleave_moe_layer_step": 2, "attention.key_length": 16, "context_length": 20000},
    ),
    "gpt-oss": model(
        "gpt-oss",
        EXPERTS,
        {"attention.sliding_window": 8, "rope.dimension_count": 16, **{k: YARN[k] for k in list(YARN)[:3]}},
        options=(r".*(attn_(q|k|v|output)|ffn_(gate_inp|(gate|up|down)_exps))\.bias",),
    ),
}  # fmt: skip


def prompt_length(name: str) -> int:
    """Long enough that windows, stretches and temperatures are at work."""
    return 8250 if name == "llama4" else 40
