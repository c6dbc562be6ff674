"""Reads an exported file with the `gguf` package, runs it in PyTorch in float32, and records what an engine must find.

Nothing of oxillama takes part, so the record can judge it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf.quants import dequantize

from .model import Model, ModelConfig

NUM_TOP = 20
NUM_GREEDY = 64
NOTE = (
    "float32 PyTorch on the dequantised weights of demo.gguf; written by `python -m tools.demo_model reference`. ids "
    "begin with BOS. top20: [token, logit] at the last prompt token. greedy_ids: argmax, an end token included. "
    "greedy_margin: best minus second-best logit at each step."
)
TEXT_PROMPTS = (
    "",
    "Once upon a time",
    "One day, a little fox",
    "Lily and her friend Tom went to the park.",
    "The little dragon was sad because",
    "In a small village by the sea, there lived a brave boy named Zorbo. He",
)
CHAT_PROMPTS = (
    [("user", "Tell me a story about a rabbit.")],
    [("user", "Who are you?")],
    [("user", "What is 3 + 4?")],
    [("system", "Your name is Nina."), ("user", "Hello! What is your name?")],
    [("user", "What colour is the sky?"), ("assistant", "The sky is blue."), ("user", "What is the opposite of hot?")],
)


def load(path: Path) -> tuple[Model, gguf.GGUFReader]:
    """The model of a GGUF file with its weights dequantised to float32, and the reader of the file."""
    reader = gguf.GGUFReader(str(path))
    config = ModelConfig(
        vocab_size=_number(reader, "llama.vocab_size"),
        embedding_length=_number(reader, "llama.embedding_length"),
        block_count=_number(reader, "llama.block_count"),
        feed_forward_length=_number(reader, "llama.feed_forward_length"),
        head_count=_number(reader, "llama.attention.head_count"),
        head_count_kv=_number(reader, "llama.attention.head_count_kv"),
        context_length=_number(reader, "llama.context_length"),
        rope_freq_base=_number(reader, "llama.rope.freq_base"),
        rms_epsilon=_number(reader, "llama.attention.layer_norm_rms_epsilon"),
    )
    model = Model(config)
    state = {
        tensor.name: torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy()) for tensor in reader.tensors
    }
    model.load_state_dict(state)
    return model.eval(), reader


def _number(reader: gguf.GGUFReader, key: str) -> Any:
    return reader.fields[key].contents()


def encode(reader: gguf.GGUFReader, text: str) -> list[int]:
    """Token ids of a prompt with BOS first, by the rule of a GGUF "llama" tokenizer: control tokens cut the text, then
    the neighbours with the best score merge until none can."""
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    scores = reader.fields["tokenizer.ggml.scores"].contents()
    types = reader.fields["tokenizer.ggml.token_type"].contents()
    index = {token: number for number, token in enumerate(tokens)}
    controls = [token for token, kind in zip(tokens, types, strict=True) if kind == gguf.TokenType.CONTROL]
    ids = [_number(reader, "tokenizer.ggml.bos_token_id")]
    while text:
        cut = min((place for token in controls if (place := text.find(token)) >= 0), default=len(text))
        ids += _merge(text[:cut].replace(" ", "\u2581"), index, scores)
        control = next((token for token in controls if text.startswith(token, cut)), "")
        ids += [index[control]] if control else []
        text = text[cut + len(control) :]
    return ids


def _merge(text: str, index: dict[str, int], scores: list[float]) -> list[int]:
    parts = list(text)
    while True:
        pairs = [
            (scores[index[a + b]], -place) for place, (a, b) in enumerate(itertools.pairwise(parts)) if a + b in index
        ]
        if not pairs:
            break
        place = -max(pairs)[1]
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    ids: list[int] = []
    for part in parts:
        ids += [index[part]] if part in index else [index[f"<0x{byte:02X}>"] for byte in part.encode()]
    return ids


def render(messages: list[tuple[str, str]]) -> str:
    """The chat format without BOS, written here a second time so that the file's template is tested against it."""
    return "".join(f"<|{role}|>{text}<|end|>" for role, text in messages) + "<|assistant|>"


def record(path: Path) -> dict[str, Any]:
    """Prompts, token ids, top logits at the last prompt token and greedy continuations with their margins."""
    torch.set_num_threads(1)
    model, reader = load(path)
    ends = {_number(reader, "tokenizer.ggml.eos_token_id"), _number(reader, "tokenizer.ggml.eot_token_id")}
    texts: list[tuple[str, Any]] = [(text, None) for text in TEXT_PROMPTS] + [
        (render(chat), chat) for chat in CHAT_PROMPTS
    ]
    cases = []
    for text, chat in texts:
        ids = encode(reader, text)
        messages = [{"role": role, "content": content} for role, content in chat] if chat else None
        case = {"prompt": text, "messages": messages, "ids": ids, **_continue(model, ids, ends)}
        cases.append(case)
    return {
        "note": NOTE,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "cases": cases,
    }


@torch.no_grad()
def _continue(model: Model, ids: list[int], ends: set[int]) -> dict[str, Any]:
    greedy: list[int] = []
    margins: list[float] = []
    top: list[list[float]] = []
    for _ in range(NUM_GREEDY):
        logits = model(torch.tensor([ids + greedy]))[0, -1]
        best = torch.topk(logits, NUM_TOP)
        values, tokens = best.values.tolist(), best.indices.tolist()
        top = top or [[token, round(value, 5)] for token, value in zip(tokens, values, strict=True)]
        margins.append(round(values[0] - values[1], 5))
        greedy.append(tokens[0])
        if tokens[0] in ends:
            break
    return {"top20": top, "greedy_ids": greedy, "greedy_margin": margins}


def write_record(model: Path, path: Path) -> None:
    """Write the record of `model` as JSON to `path`, one line per list."""
    data = record(model)
    cases = []
    for case in data["cases"]:
        lines = (f"   {json.dumps(key)}: {json.dumps(value)}" for key, value in case.items())
        cases.append("  {\n" + ",\n".join(lines) + "\n  }")
    body = ",\n".join(cases)
    path.write_text(
        f'{{\n "note": {json.dumps(data["note"])},\n "sha256": "{data["sha256"]}",\n "cases": [\n{body}\n ]\n}}\n'
    )


def largest_difference(path: Path, weights: dict[str, torch.Tensor], ids: list[int]) -> tuple[float, float]:
    """(largest absolute, root mean square) difference of the logits of a file and of the float weights behind it."""
    model, _ = load(path)
    exact = Model(model.config)
    exact.load_state_dict(weights)
    with torch.no_grad():
        difference = (model(torch.tensor([ids])) - exact(torch.tensor([ids]))).numpy()
    return float(np.abs(difference).max()), float(np.sqrt(np.mean(difference**2)))
