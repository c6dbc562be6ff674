"""Records torch's hidden states of the tests' tiny ModernBERT: `PYTHON -m tools.record_modern_bert`, where PYTHON has
torch and transformers, and PYTHONPATH names this folder."""

from __future__ import annotations

import numpy as np

from tests.network.models import tiny_modern_bert as tiny

NAMES = {
    "token_embd": "embeddings.tok_embeddings",
    "token_embd_norm": "embeddings.norm",
    "output_norm": "final_norm",
    "attn_norm": "attn_norm",
    "attn_qkv": "attn.Wqkv",
    "attn_output": "attn.Wo",
    "ffn_norm": "mlp_norm",
    "ffn_up": "mlp.Wi",
    "ffn_down": "mlp.Wo",
}


def torch_name(name: str) -> str:
    if not name.startswith("blk."):
        return f"{NAMES[name]}.weight"
    _, layer, part = name.split(".")
    return f"layers.{layer}.{NAMES[part]}.weight"


def main() -> None:
    import torch
    from transformers import ModernBertConfig, ModernBertModel

    config = ModernBertConfig(
        vocab_size=tiny.N_VOCAB, hidden_size=tiny.WIDTH, intermediate_size=tiny.N_FF, num_hidden_layers=tiny.N_LAYERS,
        num_attention_heads=tiny.N_HEADS, local_attention=tiny.WINDOW, norm_eps=tiny.EPSILON,
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": tiny.LOCAL_BASE},
            "full_attention": {"rope_type": "default", "rope_theta": tiny.BASE},
        },
        pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2, attn_implementation="eager",
    )  # fmt: skip
    model = ModernBertModel(config).eval()
    state = {torch_name(name): torch.from_numpy(values) for name, values in tiny.weights().items()}
    print(model.load_state_dict(state, strict=False))
    with torch.no_grad():
        rows = [model(torch.tensor([ids])).last_hidden_state[0].numpy() for ids in tiny.TEXTS]
    np.savez_compressed(tiny.RECORDED, *rows)


if __name__ == "__main__":
    main()
