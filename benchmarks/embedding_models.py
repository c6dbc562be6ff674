"""One BERT in every form that embedding_speed.py compares: `PYTHON -m benchmarks.embedding_models VOCAB.gguf FOLDER
[--weights FOLDER]`, where PYTHON has torch, transformers, onnx, onnxruntime, gguf and NumPy.

VOCAB.gguf: a BERT in GGUF, for its vocabulary (all-MiniLM-L6-v2). --weights: a folder that transformers reads; without
it a network of bge-base's shape, with random weights. Written: model-F32, -F16 and -Q8_0.gguf, model.onnx and its int8
sibling (dynamic, per channel)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import onnxruntime.quantization as onnx_quantization
import torch
from transformers import BertConfig, BertModel

BLOCK = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
REST = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
}


def gguf_name(name: str) -> str | None:
    stem, _, kind = name.rpartition(".")
    if stem.startswith("encoder.layer."):
        _, _, layer, part = stem.split(".", 3)
        return f"blk.{layer}.{BLOCK[part]}.{kind}"
    return f"{REST[stem]}.{kind}" if stem in REST else None


def write_gguf(path: Path, vocabulary: Path, model: Any, kind: str) -> None:
    config = model.config
    writer = gguf.GGUFWriter(path, "bert")
    for field in gguf.GGUFReader(vocabulary).fields.values():
        if field.name.startswith("tokenizer."):
            sub = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(field.name, field.contents(), field.types[0], sub)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_layer_norm_eps(config.layer_norm_eps)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    types = {"F16": gguf.GGMLQuantizationType.F16, "Q8_0": gguf.GGMLQuantizationType.Q8_0}
    for name, tensor in model.state_dict().items():
        target = gguf_name(name)
        if target is None:
            continue
        values = tensor.numpy().astype(np.float32)
        if values.ndim == 2 and kind in types and target.startswith(("blk.", "token_embd.")):
            writer.add_tensor(target, gguf.quantize(values, types[kind]), raw_dtype=types[kind])
        else:
            writer.add_tensor(target, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Mean(torch.nn.Module):
    """The mean of the last hidden states over the real tokens."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weights).sum(1) / weights.sum(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vocabulary", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    if args.weights:
        model = BertModel.from_pretrained(args.weights, add_pooling_layer=False, attn_implementation="eager")
    else:
        config = BertConfig(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072)
        config._attn_implementation = "eager"
        model = BertModel(config, add_pooling_layer=False)
    model.eval()
    for kind in ("F32", "F16", "Q8_0"):
        write_gguf(args.folder / f"model-{kind}.gguf", args.vocabulary, model, kind)
    ids = torch.ones((2, 7), dtype=torch.int64)
    axes = {0: "batch", 1: "tokens"}
    torch.onnx.export(
        Mean(model), (ids, ids), str(args.folder / "model.onnx"), dynamo=False, opset_version=17,
        input_names=["input_ids", "attention_mask"], output_names=["embedding"],
        dynamic_axes={"input_ids": axes, "attention_mask": axes, "embedding": {0: "batch"}},
    )  # fmt: skip
    onnx_quantization.quantize_dynamic(
        str(args.folder / "model.onnx"), str(args.folder / "model-int8.onnx"), per_channel=True
    )


if __name__ == "__main__":
    main()
