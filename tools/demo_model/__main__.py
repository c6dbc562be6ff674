"""`python -m tools.demo_model [all|sample|train|export|reference]`: makes oxillama/data/demo.gguf from nothing."""

from __future__ import annotations

import argparse
from pathlib import Path

from .corpus import documents

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "demo_model"
MODEL = ROOT / "oxillama" / "data" / "demo.gguf"
REFERENCE = ROOT / "tests" / "data" / "demo_reference.json"


def sample(count: int) -> None:
    """Print some training documents."""
    for item in documents(count):
        print(item if isinstance(item, str) else "\n".join(f"{role}: {text}" for role, text in item), end="\n\n")


def run_training(build: Path, minutes: float, resume: bool) -> None:
    """Train the vocabulary and the model; both stay in `build`. `resume` goes on with those that are there."""
    from .model import ModelConfig
    from .tokenizer import DocumentEncoder, train_tokenizer
    from .train import TrainConfig, train

    build.mkdir(parents=True, exist_ok=True)
    if not resume:
        train_tokenizer(build / "spm.model")
    encoder = DocumentEncoder(build / "spm.model")
    train(encoder, build / "model.pt", ModelConfig(), TrainConfig(max_seconds=minutes * 60), resume=resume)


def run_export(build: Path, path: Path, context: int | None) -> None:
    """Export the checkpoint in `build` and say how far the quantised logits are from the trained ones.

    `context` is the context length to write; None means the one that was trained.
    """
    import sentencepiece
    import torch

    from .export import export
    from .reference import encode, largest_difference, load

    state = torch.load(build / "model.pt", weights_only=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    config = state["config"] | ({} if context is None else {"context_length": context})
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(build / "spm.model"))
    export(path, {name: value.numpy() for name, value in state["model"].items()}, config, pieces)
    ids = encode(load(path)[1], "Once upon a time, there was a little fox. One day, the fox went to the river.")
    largest, typical = largest_difference(path, state["model"], ids)
    print(f"{path}: {path.stat().st_size} bytes; logits differ by {typical:.4f} (rms), {largest:.4f} at most")
    print(f"last of the training: {state['history'][-1]}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.demo_model", description=__doc__)
    parser.add_argument("step", nargs="?", choices=("all", "sample", "train", "export", "reference"), default="all")
    parser.add_argument("--build", type=Path, default=BUILD, help="folder of the vocabulary and the checkpoint")
    parser.add_argument("--output", type=Path, default=MODEL, help="the GGUF file")
    parser.add_argument(
        "--context", type=int, help="context length to write, if the training earned less than its rows"
    )
    parser.add_argument("--minutes", type=float, default=float("inf"), help="end the training after so long")
    parser.add_argument(
        "--resume", action="store_true", help="start another cycle from the checkpoint in the build folder"
    )
    options = parser.parse_args()
    if options.step == "sample":
        sample(20)
    if options.step in ("all", "train"):
        run_training(options.build, options.minutes, options.resume)
    if options.step in ("all", "export"):
        run_export(options.build, options.output, options.context)
    if options.step in ("all", "reference"):
        from .reference import write_record

        REFERENCE.parent.mkdir(parents=True, exist_ok=True)
        write_record(options.output, REFERENCE)


if __name__ == "__main__":
    main()
