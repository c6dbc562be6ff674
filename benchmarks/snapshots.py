"""What snapshots of recurrent states cost, and what they save: the same prompts with the prefix cache on and off.

    python benchmarks/snapshots.py [MODEL] [--prompt 1500] [--output 128] [--rounds 7] [--threads 2]

Without a model one of Mamba-2 layers (width 1024, 24 layers, Q8_0) with random weights is made. The engines take turns;
figures are medians over rounds: reading a new prompt, writing, and reading it again with a few tokens more."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np

from oxillama import Engine, cpu_info
from oxillama.testing.described_models import DescribedModel

MADE = DescribedModel(
    "mamba2",
    {
        "vocab_size": 259,
        "context_length": 8192,
        "block_count": 24,
        "embedding_length": 1024,
        "attention.head_count": 0,
        "feed_forward_length": 0,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "ssm.conv_kernel": 4,
        "ssm.inner_size": 2048,
        "ssm.state_size": 128,
        "ssm.time_step_rank": 32,
        "ssm.group_count": 1,
    },
    (r"output\.weight",),
    type_name="Q8_0",
    constants={f"blk.{i}.ssm_a": -0.1 for i in range(24)},
    tokenizer=True,
)


def measure(engine: Engine, prompt: list[int], n_output: int) -> dict[str, float]:
    """Seconds of the parts of a talk of two turns."""
    first = engine.generate(prompt, max_tokens=n_output, temperature=0, ignore_eos=True)
    talk = prompt + list(first.token_ids) + prompt[:20]
    second = engine.generate(talk, max_tokens=1, temperature=0, ignore_eos=True)
    return {
        "prompt": first.timings.prefill,
        "each token": first.timings.decode / max(1, n_output - 1),
        "next turn": second.timings.ttft,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("model", nargs="?")
    parser.add_argument("--prompt", type=int, default=1500)
    parser.add_argument("--output", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=cpu_info().threads)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = args.model or Path(folder) / "made.gguf"
        if args.model is None:
            MADE.write(path)
        options = {
            "n_threads": args.threads,
            "n_ctx": args.prompt + args.output + 100,
            "progress": False,
            "speculation": "off",
        }
        with Engine(path, **options) as on, Engine(path, prefix_cache=False, **options) as off:
            report(on, off, args.prompt, args.output, args.rounds)


def report(on: Engine, off: Engine, n_prompt: int, n_output: int, n_rounds: int) -> None:
    random = np.random.default_rng(0)
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for _ in range(n_rounds):
        prompt = [int(token) for token in random.integers(0, on.n_vocab, n_prompt)]
        for name, engine in (("with", on), ("without", off)):
            for part, seconds in measure(engine, prompt, n_output).items():
                found[part][name].append(seconds)
    assert on.program is not None
    print(f"state of a sequence {on.program.state_bytes / 1e6:.1f} MB, {on.stats().state_snapshots} snapshots kept")
    for part, times in found.items():
        ratio = statistics.median(a / b for a, b in zip(times["with"], times["without"], strict=True))
        medians = {name: 1e3 * statistics.median(values) for name, values in times.items()}
        print(f"{part:12s} {medians['with']:9.2f} ms  without {medians['without']:9.2f} ms  ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
