"""What the modules of models in Python are called in GGUF files, as far as adapters train them."""

from __future__ import annotations

import re

# Of a layer: the end of a module's path to the tensor's name behind `blk.N.`.
_LAYER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.out_proj": "attn_output",
    "self_attn.dense": "attn_output",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.q_a_proj": "attn_q_a",
    "self_attn.q_b_proj": "attn_q_b",
    "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
    "self_attn.kv_b_proj": "attn_kv_b",
    "attention.query_key_value": "attn_qkv",
    "self_attention.query_key_value": "attn_qkv",
    "attention.dense": "attn_output",
    "self_attention.dense": "attn_output",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.fc1": "ffn_up",
    "mlp.fc2": "ffn_down",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
    "mlp.dense_h_to_4h": "ffn_up",
    "mlp.dense_4h_to_h": "ffn_down",
    "mlp.gate": "ffn_gate_inp",
    "mlp.router": "ffn_gate_inp",
    "block_sparse_moe.gate": "ffn_gate_inp",
    "feed_forward.router": "ffn_gate_inp",
    "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
    "mixer.in_proj": "ssm_in",
    "mixer.x_proj": "ssm_x",
    "mixer.dt_proj": "ssm_dt",
    "mixer.out_proj": "ssm_out",
    "mamba.in_proj": "ssm_in",
    "mamba.out_proj": "ssm_out",
}
for _shared in ("mlp.shared_expert", "mlp.shared_experts", "feed_forward.shared_expert"):
    _LAYER |= {f"{_shared}.{part}_proj": f"ffn_{part}_shexp" for part in ("gate", "up", "down")}
# The parts of one expert of many.
_EXPERT = {"gate_proj": "gate", "up_proj": "up", "down_proj": "down", "w1": "gate", "w2": "down", "w3": "up"}

_LAYER_PATH = re.compile(r"^(?:.*\.)?(?:layers|h|layer|blocks)\.([0-9]{1,6})\.(.+)$")
_EXPERT_PATH = re.compile(r"^(?:mlp|block_sparse_moe)\.experts\.([0-9]{1,6})\.(\w+)$")
_OUTER = {"embed_tokens": "token_embd", "wte": "token_embd", "word_embeddings": "token_embd", "lm_head": "output"}


def tensor_of(module: str) -> tuple[str, int | None] | None:
    """The tensor of a module's path, and which expert of the stack it is; None for what is not known."""
    layer = _LAYER_PATH.match(module)
    if layer is None:
        name = _OUTER.get(module.rsplit(".", 1)[-1])
        return (f"{name}.weight", None) if name else None
    block, path = f"blk.{int(layer[1])}", layer[2]
    expert = _EXPERT_PATH.match(path)
    if expert is not None and expert[2] in _EXPERT:
        return f"{block}.ffn_{_EXPERT[expert[2]]}_exps.weight", int(expert[1])
    known = _LAYER.get(path)
    return (f"{block}.{known}.weight", None) if known else None


# Families whose files have the rows of queries and keys in another order than the models in Python: pairs that rotate
# together lie next to each other.
_PAIRED = {"arcee", "baichuan", "deci", "granite", "granitehybrid", "granitemoe"}
_PAIRED |= {"llama", "minicpm", "mistral3", "smollm3", "xverse"}


def has_paired_rows(architecture: str, tensor: str) -> bool:
    return architecture in _PAIRED and tensor.endswith((".attn_q.weight", ".attn_k.weight"))
