"""`oxillama info`: what is in a model file, without loading its weights."""

from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace
from typing import Any

import click
import numpy as np

from oxillama.cli.options import Option, model_options, model_path
from oxillama.demo import demo_path
from oxillama.gguf import GGUFFile, StringArray
from oxillama.network.inspection import inspect_model
from oxillama.tools.probe import tool_syntax_of

LONGEST_VALUE = 80


def options() -> list[click.Parameter]:
    return [
        *model_options(),
        Option("--tensors", is_flag=True, help="list every tensor"),
        Option("--json", is_flag=True, help="everything as JSON, long arrays by their length"),
    ]


def main(args: SimpleNamespace) -> int:
    path = model_path(args)
    with GGUFFile(demo_path() if path is None else path) as file:
        found = describe(file) | {"fitness": fitness(file)}
    if args.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    print(f"{found['path']}: GGUF version {found['version']}, {found['bytes'] / 2**20:,.1f} MiB of tensors")
    print(f"{found['parameters']:,} parameters in {len(found['tensors'])} tensors: {_counts(found['types'])}")
    print(_verdict(found["fitness"]))
    print("\nmetadata")
    width = max((len(key) for key in found["metadata"]), default=0)
    for key, value in found["metadata"].items():
        print(f"  {key:<{width}}  {_shortened(value)}")
    if "tool_syntax" in found:
        print("\ntool calls")
        for key, value in found["tool_syntax"].items():
            print(f"  {key:<{width}}  {value!r}")
    if args.tensors:
        print("\ntensors")
        for tensor in found["tensors"]:
            shape = " x ".join(map(str, tensor["shape"]))
            print(f"  {tensor['name']:<36} {tensor['type']:>8}  {shape}")
    return 0


def describe(file: GGUFFile) -> dict[str, Any]:
    tensors = list(file.tensors.values())
    default = file.metadata.get("tokenizer.chat_template")
    template = file.metadata.get("tokenizer.chat_template.tool_use", default)
    calls = {"tool_syntax": tool_syntax_of(template).to_dict()} if isinstance(template, str) else {}
    return {
        **calls,
        "path": file.path,
        "version": file.version,
        "bytes": sum(tensor.n_bytes for tensor in tensors if tensor.is_known),
        "parameters": sum(tensor.n_elements for tensor in tensors),
        "types": dict(Counter(tensor.type_name for tensor in tensors)),
        "metadata": {key: _plain(file.metadata.read(key, strict=False)) for key in file.metadata},
        "tensors": [
            {
                "name": tensor.name,
                "type": tensor.type_name,
                "shape": list(tensor.shape),
                "bytes": tensor.n_bytes if tensor.is_known else None,
            }
            for tensor in tensors
        ],
    }


def fitness(file: GGUFFile) -> dict[str, Any]:
    """Whether the file would run here and now. Bytes of memory, and what stands in the way."""
    found = inspect_model(file)
    if found.plan is None:
        return {"runs": False, "error": type(found.obstacle).__name__, "obstacle": str(found.obstacle)}
    memory = found.plan.memory
    return {
        "runs": True,
        "n_ctx": found.plan.n_ctx,
        "weights": memory.weights,
        "buffers": memory.buffers,
        "kv_cache": memory.kv_cache,
    }


def _verdict(found: dict[str, Any]) -> str:
    if not found["runs"]:
        return f"does not run: {found['obstacle']}"
    weights, buffers, cache = (found[part] / 2**20 for part in ("weights", "buffers", "kv_cache"))
    return (
        f"runs, with a context of {found['n_ctx']:,} tokens: {weights:,.1f} MiB of memory for weights, "
        f"{buffers:,.1f} MiB for buffers and up to {cache:,.1f} MiB for the KV cache"
    )


def _plain(value: Any) -> Any:
    """Something JSON can hold; a long array becomes a word about it."""
    if isinstance(value, StringArray):
        return f"<{len(value)} strings>"
    if isinstance(value, np.ndarray):
        return value.tolist() if value.size <= 16 else f"<{value.size} x {value.dtype}>"
    if isinstance(value, list):
        return [_plain(item) for item in value] if len(value) <= 16 else f"<{len(value)} values>"
    return value


def _shortened(value: Any) -> str:
    text = repr(value) if isinstance(value, str) and "\n" in value else str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}... ({len(text)} characters)"


def _counts(types: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in types.items())
