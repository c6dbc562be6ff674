"""Writes trained weights and a SentencePiece vocabulary as a GGUF file: matrices as Q8_0, norms as F32."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import sentencepiece
from numpy.typing import NDArray

from oxillama.gguf_writer import GGUFWriter

from .corpus import CONTROL_TOKENS, END_TOKEN
from .q8_0 import quantise

CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja")
FILE_TYPE_Q8_0 = 7
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6  # llama_token_type of llama.cpp


def export(
    path: Path,
    weights: Mapping[str, NDArray[np.float32]],
    config: Mapping[str, float],
    pieces: sentencepiece.SentencePieceProcessor,
) -> None:
    """Write `weights`, named as in `model.Model`, to `path`. `config` holds the fields of `model.ModelConfig`.

    RoPE was trained on the pairs (2i, 2i + 1), the layout GGUF expects of a llama model, so no row is permuted.
    """
    with GGUFWriter(path) as writer:
        _add_description(writer)
        _add_config(writer, config)
        _add_tokenizer(writer, pieces)
        for name, values in weights.items():
            if values.ndim == 1:
                writer.add_tensor(name, values)
            else:
                writer.add_tensor(name, quantise(values), shape=values.shape[::-1], type_name="Q8_0")


def _add_description(writer: GGUFWriter) -> None:
    writer.add("general.architecture", "llama")
    writer.add("general.type", "model")
    writer.add("general.name", "Oxillama demo")
    writer.add("general.description", "A tiny storyteller, trained from scratch on text of a procedural generator.")
    writer.add("general.license", "apache-2.0")
    writer.add("general.file_type", FILE_TYPE_Q8_0, "uint32")
    writer.add("general.quantization_version", 2, "uint32")


def _add_config(writer: GGUFWriter, config: Mapping[str, float]) -> None:
    head_dim = int(config["embedding_length"] // config["head_count"])
    numbers = {
        "vocab_size": config["vocab_size"],
        "context_length": config["context_length"],
        "embedding_length": config["embedding_length"],
        "block_count": config["block_count"],
        "feed_forward_length": config["feed_forward_length"],
        "attention.head_count": config["head_count"],
        "attention.head_count_kv": config["head_count_kv"],
        "rope.dimension_count": head_dim,
    }
    for key, number in numbers.items():
        writer.add(f"llama.{key}", int(number), "uint32")
    writer.add("llama.attention.layer_norm_rms_epsilon", config["rms_epsilon"], "float32")
    writer.add("llama.rope.freq_base", config["rope_freq_base"], "float32")


def _add_tokenizer(writer: GGUFWriter, pieces: sentencepiece.SentencePieceProcessor) -> None:
    size = pieces.get_piece_size()
    writer.add("tokenizer.ggml.model", "llama")
    writer.add("tokenizer.ggml.pre", "default")
    writer.add("tokenizer.ggml.tokens", [pieces.id_to_piece(token) for token in range(size)])
    writer.add("tokenizer.ggml.scores", np.array([pieces.get_score(token) for token in range(size)], np.float32))
    writer.add("tokenizer.ggml.token_type", np.array([_token_type(pieces, token) for token in range(size)], np.int32))
    writer.add("tokenizer.ggml.bos_token_id", pieces.bos_id(), "uint32")
    writer.add("tokenizer.ggml.eos_token_id", pieces.eos_id(), "uint32")
    writer.add("tokenizer.ggml.unknown_token_id", pieces.unk_id(), "uint32")
    writer.add("tokenizer.ggml.eot_token_id", pieces.piece_to_id(END_TOKEN), "uint32")
    writer.add("tokenizer.ggml.add_bos_token", True)
    writer.add("tokenizer.ggml.add_eos_token", False)
    writer.add("tokenizer.ggml.add_space_prefix", False)
    writer.add("tokenizer.chat_template", CHAT_TEMPLATE.read_text().strip())


def _token_type(pieces: sentencepiece.SentencePieceProcessor, token: int) -> int:
    if pieces.is_unknown(token):
        return UNKNOWN
    if pieces.is_control(token) or pieces.id_to_piece(token) in CONTROL_TOKENS:
        return CONTROL
    return BYTE if pieces.is_byte(token) else NORMAL
