"""Writes `docs/models.md`: what each architecture and each type of weights was seen to do, by running all of it.

    python -m tests.models_page        # a few minutes; wants the recorded fixtures

A tick is a check that passed here and now; a dash is something that this kind of network does not have.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from oxillama import Engine, OxillamaError
from oxillama.gguf import GGUFFile
from oxillama.network.models import ARCHITECTURES
from oxillama.quantize import TYPES, dequantize
from tests import test_conformance, test_encoders
from tests.conftest import REPOSITORY, fixtures_folder
from tests.network.models import hybrids, test_described, test_hybrids
from tests.network.models.described import MODELS
from tests.network.models.described_dense import DENSE

PAGE = REPOSITORY / "docs" / "models.md"
COLUMNS = ("loads", "numbers", "greedy", "batched", "cached", "preempted")
HEAD = f"""# What runs

Made by `python -m tests.models_page`, which runs everything that is ticked here; the tests hold the names to the code.

## Architectures

On tiny files of each: it *loads*; its *numbers* (logits, or vectors of an encoder) are within the tolerance of those
that llama.cpp or torch recorded; its *greedy* tokens are the recorded ones, or where there are none, those of its own
logits; and its output is equal bit for bit in a batch (*batched*), behind a cached prefix (*cached*), and after a
preemption (*preempted*). A dash: it has no such thing.

| architecture | {" | ".join(COLUMNS)} |
|---|{"---|" * len(COLUMNS)}
"""
TYPES_HEAD = """
## Types of weights

*Exact*: blocks decode to the recorded values within one unit in the last place. *Within bound*: the logits of a small
Llama with these weights are as close to those of its exact weights as the recorded bound asks.

| type | exact | within bound |
|---|---|---|
"""
Row = dict[str, bool | None]


@dataclass(frozen=True)
class File:
    """A file of a family, and a check of its numbers. n_ctx: tokens of its context."""

    path: Path
    check: Callable[[], None]
    checks_greedy: bool
    n_ctx: int = 256


def decoders(folder: Path) -> Iterator[File]:
    fixtures = fixtures_folder()
    for name in test_conformance.recorded_decoders():
        path = fixtures / "arch" / f"{name}.gguf"
        yield File(path, partial(test_conformance.test_architecture, fixtures, name), True)
    for models, check in ((MODELS, test_described.test_logits_are_llama_cpps), (DENSE, DENSE_CHECK)):
        for name, model in models.items():
            path = folder / f"{name}.gguf"
            model.write(path)
            yield File(path, partial(check, folder, name), False)
    for name, hybrid in hybrids.HYBRIDS.items():
        path = folder / f"{name}.gguf"
        hybrids.write(hybrid, path)
        yield File(path, partial(test_hybrids.test_logits_are_those_of_llama_cpp, name), False)


DENSE_CHECK = test_described.test_dense_logits_are_llama_cpps


def passes(check: Callable[[], object]) -> bool:
    try:
        return check() is not False
    except (AssertionError, OxillamaError) as error:
        print(f"  {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
        return False


def row_of(file: File) -> Row:
    row: Row = {"loads": passes(lambda: Engine(file.path, n_ctx=32, progress=False).close())}
    if row["loads"]:
        row["numbers"] = passes(file.check)
        row["greedy"] = row["numbers"] if file.checks_greedy else passes(lambda: is_greedy(file.path))
        row |= company(file.path)
    return row


def is_greedy(path: Path) -> bool:
    with Engine(path, n_ctx=128, kv_dtype="f32", progress=False) as engine:
        ids = [int(token) for token in np.random.default_rng(0).integers(3, engine.n_vocab, 20)]
        found = engine.generate(ids, max_tokens=5, temperature=0).token_ids
        return all(int(engine.logits([*ids, *found[:i]])[-1].argmax()) == token for i, token in enumerate(found))


def company(path: Path) -> Row:
    """Is the output the same in a batch, behind a cached prefix, and after a preemption?"""
    options: dict[str, Any] = {"n_ctx": 192, "progress": False}
    with Engine(path, **options, n_threads=1, max_batch_size=1, prefix_cache=False) as engine:
        random = np.random.default_rng(1)
        prompts = [[int(token) for token in random.integers(3, engine.n_vocab, n)] for n in (70, 9, 33, 50)]
        alone = [written(engine, prompt) for prompt in prompts]
    with Engine(path, **options, n_threads=2, max_batch_size=4, prefix_cache=False) as engine:
        batched = together(engine, prompts) == alone
    with Engine(path, **options, n_threads=1) as engine:
        written(engine, prompts[0])
        again = engine.submit(prompts[0], max_tokens=60, seed=70, ignore_eos=True)
        cached = again.result().token_ids == alone[0] and again.usage.cached_tokens > 0
    with Engine(path, **options, n_threads=1, max_batch_size=4, kv_cache_tokens=256, prefix_cache=False) as engine:
        same = together(engine, prompts) == alone
        preempted = None if not engine.stats().preemptions else same
    return {"batched": batched, "cached": cached, "preempted": preempted if same else False}


def written(engine: Engine, prompt: list[int]) -> tuple[int, ...]:
    return engine.generate(prompt, max_tokens=60, seed=len(prompt), ignore_eos=True).token_ids


def together(engine: Engine, prompts: list[list[int]]) -> list[tuple[int, ...]]:
    handles = [engine.submit(prompt, max_tokens=60, seed=len(prompt), ignore_eos=True) for prompt in prompts]
    return [handle.result().token_ids for handle in handles]


def encoder_row(name: str) -> Row:
    fixtures = fixtures_folder()
    path = fixtures / "arch" / f"{name}.gguf"

    def is_exact_in_a_batch() -> bool:
        with Engine(path, n_ctx=64, progress=False) as engine:
            texts = [[5, 6, 7], [8] * 20, [9]]
            alone = [engine.embed([text], pooling="cls") for text in texts]
            return np.array_equal(engine.embed(texts, pooling="cls"), np.concatenate(alone))

    return {
        "loads": passes(lambda: Engine(path, n_ctx=32, progress=False).close()),
        "numbers": passes(lambda: test_encoders.test_encoder(fixtures, name)),
        "batched": passes(is_exact_in_a_batch),
        **dict.fromkeys(("greedy", "cached", "preempted")),
    }


def architecture_rows() -> dict[str, Row]:
    """By name: a tick where all files of the family passed."""
    rows: dict[str, list[Row]] = defaultdict(list)
    with TemporaryDirectory() as folder:
        examined: list[tuple[Path, Callable[[], Row]]] = []
        for file in decoders(Path(folder)):
            examined.append((file.path, partial(row_of, file)))
        for name in test_encoders.recorded_encoders():
            examined.append((fixtures_folder() / "arch" / f"{name}.gguf", partial(encoder_row, name)))
        for path, examine in examined:
            with GGUFFile(path) as opened:
                architecture = opened.metadata["general.architecture"]
            print(path.stem, file=sys.stderr, flush=True)
            rows[architecture].append(examine())
    return {name: joined(rows[name]) for name in sorted(ARCHITECTURES)}


def joined(rows: list[Row]) -> Row:
    row: Row = {}
    for column in COLUMNS:
        values = [one[column] for one in rows if one.get(column) is not None]
        row[column] = all(values) if values else None
    return row


def type_rows() -> dict[str, Row]:
    blocks, models = fixtures_folder() / "quant" / "blocks", fixtures_folder() / "quant" / "models"

    def is_exact(name: str) -> bool:
        with np.load(blocks / f"{name}.npz") as data:
            found = dequantize(name, data["raw"], data["deq"].size)
            np.testing.assert_array_max_ulp(found, data["deq"].reshape(-1), maxulp=1)
        return True

    rows: dict[str, Row] = {}
    for name in TYPES:
        recorded = [one for one in test_conformance.QUANTISED_MODELS if name in types_of(models / f"{one}.gguf")]
        rows[name] = {
            "exact": passes(partial(is_exact, name)) if (blocks / f"{name}.npz").is_file() else None,
            "bound": all(
                passes(partial(test_conformance.test_quantised_model, fixtures_folder(), one)) for one in recorded
            )
            if recorded
            else None,
        }
    return rows


def types_of(path: Path) -> set[str]:
    with GGUFFile(path) as file:
        return {info.type_name for info in file.tensors.values()}


def mark(value: bool | None) -> str:
    return "-" if value is None else "✓" if value else "**no**"


def page() -> str:
    text = HEAD
    for name, row in architecture_rows().items():
        text += f"| `{name}` | {' | '.join(mark(row[column]) for column in COLUMNS)} |\n"
    text += TYPES_HEAD
    for name, row in type_rows().items():
        text += f"| {name} | {mark(row['exact'])} | {mark(row['bound'])} |\n"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
