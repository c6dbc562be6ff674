"""Records torch's hidden states of the tests' tiny T5 encoders: `PYTHON -m tools.record_t5`, where PYTHON has torch and
transformers, and PYTHONPATH names this folder."""

from __future__ import annotations

import numpy as np

from tests.network.models import tiny_t5 as tiny

NAMES = {
    "attn_q": "layer.0.SelfAttention.q",
    "attn_k": "layer.0.SelfAttention.k",
    "attn_v": "layer.0.SelfAttention.v",
    "attn_o": "layer.0.SelfAttention.o",
    "attn_rel_b": "layer.0.SelfAttention.relative_attention_bias",
    "attn_norm": "layer.0.layer_norm",
    "ffn_norm": "layer.1.layer_norm",
    "ffn_down": "layer.1.DenseReluDense.wo",
}


def torch_name(name: str, *, is_gated: bool) -> str:
    if name == "token_embd":
        return "shared.weight"
    if name == "enc.output_norm":
        return "encoder.final_layer_norm.weight"
    _, _, layer, part = name.split(".")
    dense = {"ffn_gate": "wi_0", "ffn_up": "wi_1" if is_gated else "wi"}
    own = f"layer.1.DenseReluDense.{dense[part]}" if part in dense else NAMES[part]
    return f"encoder.block.{layer}.{own}.weight"


def main() -> None:
    import torch
    from transformers import T5Config, T5EncoderModel

    found = {}
    for is_gated in (False, True):
        config = T5Config(
            vocab_size=tiny.N_VOCAB, d_model=tiny.WIDTH, d_kv=tiny.K_DIM, d_ff=tiny.N_FF, num_layers=tiny.N_LAYERS,
            num_heads=tiny.N_HEADS, relative_attention_num_buckets=tiny.N_BUCKETS, layer_norm_epsilon=tiny.EPSILON,
            feed_forward_proj="gated-gelu" if is_gated else "relu", attn_implementation="eager",
        )  # fmt: skip
        model = T5EncoderModel(config).eval()
        state = {
            torch_name(name, is_gated=is_gated): torch.from_numpy(values)
            for name, values in tiny.weights(is_gated=is_gated).items()
        }
        state["encoder.embed_tokens.weight"] = state["shared.weight"]
        print(model.load_state_dict(state, strict=False))
        with torch.no_grad():
            for index, ids in enumerate(tiny.TEXTS):
                rows = model(torch.tensor([ids])).last_hidden_state[0].numpy()
                found[f"{'gated' if is_gated else 'plain'}_{index}"] = rows
        buckets = (
            model.encoder.block[0]
            .layer[0]
            .SelfAttention._relative_position_bucket(
                torch.arange(-200, 201), bidirectional=True, num_buckets=tiny.N_BUCKETS, max_distance=128
            )
        )
        found["buckets"] = buckets.numpy().astype(np.int32)
    np.savez_compressed(tiny.RECORDED, **found)


if __name__ == "__main__":
    main()
