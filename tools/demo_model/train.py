"""Trains the demo model on generated documents, on one CPU thread, with checkpoints that can be exported any time."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from .corpus import document
from .model import Model, ModelConfig
from .tokenizer import DocumentEncoder

CYCLE_DOCUMENTS = 10_000_000
VALIDATION_START = 1_000_000_000


@dataclass(frozen=True)
class TrainConfig:
    """One run. Every `long_every`-th step has rows of the whole context, the others rows of `row_length`.

    Without long rows all through the training the model falls apart beyond `row_length`.

    `max_seconds` bounds the time: the learning rate then falls with the clock where the clock is ahead of the steps, so
    that a slow machine ends with fewer steps but a finished schedule (and a model that no other run will equal).
    """

    steps: int = 6000
    batch: int = 8
    row_length: int = 384
    long_every: int = 3
    matrix_rate: float = 5e-3
    vector_rate: float = 3e-3
    warmup: int = 100
    weight_decay: float = 0.02
    seed: int = 1
    checkpoint_every: int = 200
    max_seconds: float = float("inf")


def rows(encoder: DocumentEncoder, length: int, start: int) -> Iterator[tuple[list[int], list[int], list[float]]]:
    """Endless (inputs, targets, weights) of `length` tokens. A row starts with a document; its last one is cut off."""
    index = start
    while True:
        ids: list[int] = []
        weights: list[float] = []
        while len(ids) <= length:
            more_ids, more_weights = encoder.encode(document(index))
            ids += more_ids
            weights += more_weights
            index += 1
        yield ids[:length], ids[1 : length + 1], weights[1 : length + 1]


def batches(encoder: DocumentEncoder, size: int, length: int, start: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    source = rows(encoder, length, start)
    while True:
        inputs, targets, weights = zip(*(next(source) for _ in range(size)), strict=True)
        yield torch.tensor(inputs), torch.tensor(targets), torch.tensor(weights)


def loss_of(model: torch.nn.Module, inputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of the negative log likelihood in nats; products in bfloat16, the softmax in float32."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(inputs)
    losses = functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none")
    return (losses * weights.flatten()).sum() / weights.sum()


def _optimisers(model: Model, config: TrainConfig) -> list[torch.optim.Optimizer]:
    matrices = [p for name, p in model.named_parameters() if p.dim() == 2 and name.startswith("blk")]
    others = [p for name, p in model.named_parameters() if p.dim() == 1 or not name.startswith("blk")]
    return [
        torch.optim.Muon(
            matrices, lr=config.matrix_rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(others, lr=config.vector_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def _rate(step: int, progress: float, config: TrainConfig) -> float:
    return min(1.0, (step + 1) / config.warmup) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def train(
    encoder: DocumentEncoder, checkpoint: Path, model_config: ModelConfig, config: TrainConfig, *, resume: bool = False
) -> Model:
    """Run the whole training; every `checkpoint_every` steps `checkpoint` gets model, config, train and history.

    With `resume` the weights of `checkpoint` are the start of a new cycle, which reads documents not seen before.
    """
    torch.set_num_threads(1)
    torch.manual_seed(config.seed)
    model = Model(model_config)
    history: list[dict[str, float]] = []
    if resume:
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        history = state["history"]
    first_document = CYCLE_DOCUMENTS * sum(1 for entry in history if entry["is_last"])
    optimisers = _optimisers(model, config)
    rates = [[group["lr"] for group in optimiser.param_groups] for optimiser in optimisers]
    fast = torch.compile(model, dynamic=False)
    short = batches(encoder, config.batch, config.row_length, first_document)
    long_batch = max(1, config.batch * config.row_length // model_config.context_length)
    long = batches(encoder, long_batch, model_config.context_length, first_document + CYCLE_DOCUMENTS // 2)
    held_out = batches(encoder, 8, config.row_length, VALIDATION_START)
    validation = [
        (inputs, targets, (weights > 0).float()) for inputs, targets, weights in itertools.islice(held_out, 4)
    ]
    started, smooth = time.monotonic(), 0.0
    for step in range(config.steps):
        progress = max(step / config.steps, (time.monotonic() - started) / config.max_seconds)
        is_last = step + 1 == config.steps or progress >= 1.0
        scale = _rate(step, progress, config)
        for optimiser, bases in zip(optimisers, rates, strict=True):
            for group, base in zip(optimiser.param_groups, bases, strict=True):
                group["lr"] = base * scale
        is_long = step % config.long_every == config.long_every - 1
        loss = loss_of(model, *next(long)) if is_long else loss_of(fast, *next(short))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        smooth = loss.item() if step == 0 else 0.95 * smooth + 0.05 * loss.item()
        if step % 20 == 0:
            rate = (step + 1) * config.batch * config.row_length / (time.monotonic() - started)
            print(f"step {step:5d}  loss {smooth:.4f}  {rate:.0f} tokens/s", flush=True)
        if (step + 1) % config.checkpoint_every == 0 or is_last:
            with torch.no_grad():
                held = sum(loss_of(model, *rows_of).item() for rows_of in validation) / len(validation)
            seconds = time.monotonic() - started
            history.append(
                {"step": step + 1, "train": smooth, "held_out": held, "seconds": seconds, "is_last": is_last}
            )
            print(f"step {step + 1:5d}  held-out {held:.4f}  {seconds:.0f} s", flush=True)
            state = {
                "model": model.state_dict(),
                "config": asdict(model_config),
                "train": asdict(config),
                "history": history,
            }
            torch.save(state, checkpoint.with_suffix(".part"))
            checkpoint.with_suffix(".part").replace(checkpoint)
        if is_last:
            break
    return model
