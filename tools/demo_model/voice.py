"""Trains a small low-rank adapter for the demo model: the same stories, told by a pirate.

Usage: python -m tools.demo_model.voice [--output examples/pirate.gguf] [--steps 90]

The base model is read back from its GGUF file, so what is learnt is what an engine adds to it. Needs what the demo
model needs: torch, sentencepiece, gguf.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from oxillama.gguf_writer import GGUFWriter

from .corpus import documents
from .pirate import as_pirate
from .reference import encode, load

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / "oxillama" / "data" / "demo.gguf"
OUTPUT = ROOT / "examples" / "pirate.gguf"
RANK, ALPHA = 4, 8.0
BATCH, LENGTH, RATE = 6, 128, 8e-3
BOS, EOS = 1, 2


class LowRank(nn.Module):
    """A linear layer that stays what it is, and what is added to it."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.a = nn.Parameter(torch.randn(RANK, base.in_features) * base.in_features**-0.5)
        self.b = nn.Parameter(torch.zeros(base.out_features, RANK))

    def forward(self, x: Tensor) -> Tensor:
        added = functional.linear(functional.linear(x, self.a), self.b)
        result: Tensor = self.base(x) + ALPHA / RANK * added
        return result


def adapt(model: nn.Module) -> dict[str, LowRank]:
    """Puts a pair beside every linear layer of the blocks; returns them by the tensor that they change."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    found = {}
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear):
            parent, _, own = name.rpartition(".")
            layer = LowRank(module)
            setattr(model.get_submodule(parent), own, layer)
            found[f"{name}.weight"] = layer
    return found


def train(steps: int) -> dict[str, LowRank]:
    torch.manual_seed(1)
    model, reader = load(BASE)
    layers = adapt(model)
    stories = (as_pirate(item) for item in documents(100_000, start=500_000_000) if isinstance(item, str))
    ids = itertools.chain.from_iterable([*encode(reader, story), EOS] for story in stories)
    optimiser = torch.optim.AdamW([p for layer in layers.values() for p in (layer.a, layer.b)], lr=RATE)
    begin, smooth = time.monotonic(), 0.0
    for step in range(steps):
        rows = torch.tensor([list(itertools.islice(ids, LENGTH + 1)) for _ in range(BATCH)])
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 20) * (1 - step / steps)
        loss = functional.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        smooth = loss.item() if step == 0 else 0.9 * smooth + 0.1 * loss.item()
        if step % 20 == 0:
            print(f"step {step:4d}  loss {smooth:.3f}  {time.monotonic() - begin:.0f} s", flush=True)
    return layers


def write(path: Path, layers: dict[str, LowRank]) -> None:
    with GGUFWriter(path) as writer:
        writer.add("general.type", "adapter")
        writer.add("general.architecture", "llama")
        writer.add("general.name", "A pirate's voice for the demo model")
        writer.add("general.license", "apache-2.0")
        writer.add("adapter.type", "lora")
        writer.add("adapter.lora.alpha", ALPHA, "float32")
        for name, layer in layers.items():
            for half, values in (("lora_a", layer.a), ("lora_b", layer.b)):
                writer.add_tensor(f"{name}.{half}", values.detach().numpy().astype(np.float16))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.demo_model.voice", description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the adapter's GGUF file")
    parser.add_argument("--steps", type=int, default=90)
    options = parser.parse_args()
    write(options.output, train(options.steps))
    print(f"{options.output}: {options.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
