"""The engine against recorded results of llama.cpp and torch; tolerances are those of the fixtures' own README."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from oxillama import Engine, UnsupportedModelError, cpu_info
from oxillama.gguf import GGUFFile
from oxillama.network.models import ARCHITECTURES
from tests.conftest import fixtures_folder
from tests.levels import check_at, other_levels

LEVEL = cpu_info().isa
# The scalar level keeps activations in float32, so it is held to the float32 references.
FLOAT_ACTIVATIONS = LEVEL == "reference"

STORIES = {
    "": 1e-3,
    "-F16": 0.05,
    "-BF16": 0.05,
    "-Q8_0": 0.35,
    "-Q4_0": 0.35,
    "-Q4_1": 0.35,
    "-Q5_0": 0.35,
    "-Q5_1": 0.35,
    "-Q4_K_M": 0.35,
    "-IQ4_NL": 0.35,
}
# Families whose references were made with GELU: llama.cpp's reads a table of 16-bit numbers.
GELU = ("gemma", "phi2", "starcoder", "gpt2", "gptneox", "falcon")
# The same, made worse by attention that is sharp.
SHARP = ("gemma4",)
FLOAT_MODELS = ["BF16"]
# There activations are rounded to bfloat16 for BF16 weights, as ggml rounds them.
ROUNDED_MODELS = FLOAT_MODELS if LEVEL == "avx512bf16" else []
INT8_MODELS = [
    *("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "IQ4_NL", "IQ4_XS"),
    *("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "TQ1_0", "TQ2_0", "Q1_0", "Q2_0"),
]
QUANTISED_MODELS = [f"llama-q-a-{name}" for name in [*FLOAT_MODELS, *INT8_MODELS]]
# Mixtures of types as real files have them; those of an architecture run as soon as it is supported.
QUANTISED_MODELS += [
    *("mix-llama-h96-Q2_K", "mix-llama-h96-Q4_K_M", "nvfp4-scaled-llama", "mix-gemma2-Q4_K_M"),
    *("mix-gpt-oss-MXFP4_MOE", "mix-mixtral-Q4_K_M", "mix-qwen2-Q4_K_M"),
]


@contextmanager
def opened(path: Path, n_ctx: int | None = None) -> Iterator[Engine]:
    with Engine(path, kv_dtype="f32", n_ctx=n_ctx, kv_cache_tokens=1024, progress=False) as engine:
        yield engine


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def read_arrays(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    with np.load(path) as file:
        return dict(file)


def kl(reference: npt.NDArray[np.float32], found: npt.NDArray[np.float32]) -> float:
    def log_softmax(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        wide = x.astype(np.float64) - x.max()
        return np.asarray(wide - np.log(np.exp(wide).sum()))

    p, q = log_softmax(reference), log_softmax(found)
    return float((np.exp(p) * (p - q)).sum())


def check_greedy(engine: Engine, ids: list[int], expected: list[int], margins: list[float], tolerance: float) -> None:
    """Equal for as long as each step's margin exceeds twice the tolerance."""
    certain = next((i for i, margin in enumerate(margins) if margin <= 2 * tolerance), len(expected))
    found: list[int] = []
    while len(found) < certain:
        result = engine.generate([*ids, *found], max_tokens=certain - len(found), temperature=0)
        found += result.token_ids
        if len(found) < certain:  # ended by a token that the recorded programs went on behind
            found.append(int(engine.logits([*ids, *found])[-1].argmax()))
    assert found == expected[:certain]


@pytest.mark.parametrize("suffix", STORIES)
def test_stories(fixtures_dir: Path, suffix: str) -> None:
    name = f"stories260K{suffix}.gguf"
    recorded = read(fixtures_dir / "stories260K.json")["files"][name]
    tolerance = STORIES[suffix]
    with opened(fixtures_dir / name) as engine:
        for case in recorded["cases"]:
            logits = engine.logits(case["ids"])[-1]
            worst = max(abs(float(logits[token]) - value) for token, value in case["top20"])
            assert worst <= tolerance
            if suffix == "":
                found = engine.generate(case["ids"], max_tokens=len(case["greedy_ids"]), temperature=0).token_ids
                assert list(found) == case["greedy_ids"]
            else:
                check_greedy(engine, case["ids"], case["greedy_ids"], case["greedy_margin"], tolerance)
        nll = recorded["nll"]
        found_nll = -float(engine.logprobs(nll["ids"])[1:].mean())
        assert found_nll <= nll["mean_nll"] + 0.01


def recorded_decoders() -> list[str]:
    """The files of `arch` whose architecture is built, by their names; encoders are tested elsewhere."""
    folder = fixtures_folder()
    found = []
    for path in sorted((folder / "arch").rglob("*.gguf")):
        recorded = read(path.with_suffix(".json"))
        with GGUFFile(path) as file:
            is_built = file.metadata["general.architecture"] in ARCHITECTURES
        if is_built and recorded.get("kind") != "embedding" and not recorded.get("pairs"):
            found.append(path.relative_to(folder / "arch").with_suffix("").as_posix())
    return found


@pytest.mark.parametrize("name", recorded_decoders())
def test_architecture(fixtures_dir: Path, name: str) -> None:
    recorded = read(fixtures_dir / "arch" / f"{name}.json")
    arrays = read_arrays(fixtures_dir / "arch" / f"{name}.npz")
    # Weights are exact in F16 and our activations stay float32, at every level.
    truth = "torch" if "p0_torch" in arrays else "lcpp_f32"
    tolerance = 2e-2 if name.startswith(SHARP) else 5e-3 if name.startswith(GELU) else 1e-3
    with opened(fixtures_dir / "arch" / f"{name}.gguf", recorded["n_ctx"]) as engine:
        agree = positions = 0
        for k, case in enumerate(recorded["cases"]):
            logits = engine.logits(case["ids"])
            assert np.abs(logits[-1] - arrays[f"p{k}_{truth}"]).max() <= tolerance
            short = "torch" if "top5_torch" in case else "lcpp"
            best = [row[0] for row in case[f"top5_{short}"]]
            agree += int((logits.argmax(axis=1) == np.array(best)).sum())
            positions += len(best)
            greedy = "torch" if "greedy_torch" in case else "lcpp"
            check_greedy(engine, case["ids"], case[f"greedy_{greedy}"], case[f"greedy_{greedy}_margin"], tolerance)
        assert agree >= 0.95 * positions


def skip_unless_supported(path: Path) -> None:
    """Only what the architecture lacks is a reason: a llama file of any type must run."""
    try:
        Engine(path, n_ctx=32, progress=False).close()
    except UnsupportedModelError as error:
        if "llama-q-a" in path.name or "llama-h96" in path.name:
            raise
        pytest.skip(str(error))


@pytest.mark.parametrize("name", QUANTISED_MODELS)
def test_quantised_model(fixtures_dir: Path, name: str) -> None:
    folder = fixtures_dir / "quant" / "models"
    recorded = read(folder / f"{name}.json")
    arrays = read_arrays(folder / f"{name}.npz")
    skip_unless_supported(folder / f"{name}.gguf")
    kind = name.removeprefix("llama-q-a-")
    with opened(folder / f"{name}.gguf", recorded["n_ctx"]) as engine:
        for k, case in enumerate(recorded["cases"]):
            logits = engine.logits(case["ids"])[-1]
            exact = arrays[f"p{k}_deq"]
            if FLOAT_ACTIVATIONS or (kind in FLOAT_MODELS and kind not in ROUNDED_MODELS):
                assert np.abs(logits - exact).max() <= 1e-3
                check_greedy(engine, case["ids"], case["greedy_deq"], case["greedy_deq_margin"], 1e-3)
                continue
            tolerance = max(0.05, 3 * case["max_abs_ggml_vs_deq"])
            assert np.abs(logits - exact).max() <= tolerance
            assert kl(exact, logits) <= max(2e-3, 3 * case["kl_deq_vs_ggml"])
            check_greedy(engine, case["ids"], case["greedy_deq"], case["greedy_deq_margin"], tolerance)


@pytest.mark.parametrize("level", other_levels())
def test_every_other_level(fixtures_dir: Path, level: str) -> None:
    assert fixtures_dir.is_dir()
    check_at(level, __file__)
