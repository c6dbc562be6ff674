"""Speed of the matrix-product kernels alone: GOP/s and GB/s of packed weights per type, tokens and threads.

    python benchmarks/matmul_speed.py [--level avx2] [--types Q4_0,Q8_0] [--tokens 1,512] [--threads 1,2] [--json FILE]

Few tokens read a matrix that no cache holds; many tokens a 1B model's feed-forward matrix (8192 x 2048). Every round
times each case once, with a read of 256 MiB on huge pages right before it; figures are medians over rounds, and the
share is the median of the rounds' ratios to their own probe. int8 peak: the level's dot product in registers."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from oxillama import cpu_info
from oxillama._core.network.machine_probe import ReadProbe, int8_rate
from oxillama._core.network.team import Team
from oxillama._core.testing.kernel_harness import Activations, Matrix

# ggml number, values per block, bytes per block, offset of the float16 scales
FORMATS = {
    "F32": (0, 1, 4, ()),
    "F16": (1, 1, 2, ()),
    "BF16": (30, 1, 2, ()),
    "Q4_0": (2, 32, 18, (0,)),
    "Q4_1": (3, 32, 20, (0, 2)),
    "Q5_0": (6, 32, 22, (0,)),
    "Q5_1": (7, 32, 24, (0, 2)),
    "Q8_0": (8, 32, 34, (0,)),
    "Q2_K": (10, 256, 84, (80, 82)),
    "Q3_K": (11, 256, 110, (108,)),
    "Q4_K": (12, 256, 144, (0, 2)),
    "Q5_K": (13, 256, 176, (0, 2)),
    "Q6_K": (14, 256, 210, (208,)),
    "IQ4_NL": (20, 32, 18, (0,)),
    "IQ4_XS": (23, 256, 136, (0,)),
    "IQ1_S": (19, 256, 50, (0,)),
    "IQ1_M": (29, 256, 56, ()),
    "IQ2_XXS": (16, 256, 66, (0,)),
    "IQ2_XS": (17, 256, 74, (0,)),
    "IQ2_S": (22, 256, 82, (0,)),
    "IQ3_XXS": (18, 256, 98, (0,)),
    "IQ3_S": (21, 256, 110, (0,)),
    "TQ1_0": (34, 256, 54, (52,)),
    "TQ2_0": (35, 256, 66, (64,)),
    "MXFP4": (39, 32, 17, ()),
    "NVFP4": (40, 64, 36, ()),
    "Q1_0": (41, 128, 18, (0,)),
    "Q2_0": (42, 64, 18, (0,)),
}
K = 2048
MANY_ROWS = 8192
FEW_TOKENS = 16
STREAMED_BYTES = 192 << 20


@dataclass
class Case:
    """One cell of the table, and what each round gave."""

    type: str
    tokens: int
    threads: int
    rows: int
    bytes: int
    seconds: list[float] = field(default_factory=list)
    probes: list[float] = field(default_factory=list)

    @property
    def gops(self) -> float:
        return 2 * self.rows * K * self.tokens / statistics.median(self.seconds) / 1e9

    @property
    def gbps(self) -> float:
        return self.bytes / statistics.median(self.seconds) / 1e9

    @property
    def share_of_bandwidth(self) -> float:
        pairs = zip(self.seconds, self.probes, strict=True)
        return statistics.median(self.bytes / seconds / 1e9 / probe for seconds, probe in pairs)


def random_matrix(level: str, name: str, n_rows: int) -> Matrix:
    type_, block, block_bytes, scales = FORMATS[name]
    rng = np.random.default_rng(1)
    if block == 1:
        values = rng.standard_normal((32, K)).astype(np.float32)
        words = (
            values if name == "F32" else values.astype(np.float16) if name == "F16" else values.view(np.uint16)[:, 1::2]
        )
        raw = np.ascontiguousarray(words).view(np.uint8)
    else:
        blocks = rng.integers(0, 256, (32, K // block, block_bytes), np.uint8)
        for at in scales:
            blocks[:, :, at : at + 2] = np.float16(0.01).tobytes()[0], np.float16(0.01).tobytes()[1]
        raw = blocks.reshape(32, -1)
    return Matrix(level, type_, K, np.tile(raw, (n_rows // 32, 1)))


def streamed_rows(name: str) -> int:
    _, block, block_bytes, _ = FORMATS[name]
    return STREAMED_BYTES // (K // block * block_bytes) // 64 * 64


def measure_type(level: str, name: str, tokens: list[int], threads: list[int], rounds: int) -> list[Case]:
    probes = {n: ReadProbe(n_threads=n) for n in threads}
    teams = {n: Team(n) for n in threads}
    cases: list[Case] = []
    for few in (True, False):
        counts = [n for n in tokens if (n <= FEW_TOKENS) == few]
        if not counts:
            continue
        n_rows = streamed_rows(name) if few else MANY_ROWS
        matrix = random_matrix(level, name, n_rows)
        # Rows a line apart, as in the engine: a power of two costs float products half of their speed.
        values = np.random.default_rng(2).standard_normal((max(counts), K + 16)).astype(np.float32)[:, :K]
        inputs = {n: Activations(level, values[:n]) for n in counts}
        outs = {n: np.zeros((n, n_rows), np.float32) for n in counts}
        group = [Case(name, n, t, n_rows, matrix.nbytes) for n in counts for t in threads]
        for _ in range(rounds):
            for case in group:
                case.probes.append(probes[case.threads].run())
                started = time.perf_counter()
                matrix.multiply(inputs[case.tokens], outs[case.tokens], team=teams[case.threads])
                case.seconds.append(time.perf_counter() - started)
        cases += group
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--level", default=cpu_info().isa, choices=cpu_info().usable)
    parser.add_argument("--types", default="Q4_0,Q8_0,Q4_K,Q6_K,Q5_0,F16,BF16,F32")
    parser.add_argument("--tokens", default="1,2,4,8,16,64,512")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    threads = [int(n) for n in arguments.threads.split(",")]
    tokens = [int(n) for n in arguments.tokens.split(",")]

    peaks = {n: int8_rate(level=arguments.level, n_threads=n) for n in threads}
    print(f"{cpu_info().model_name}, level {arguments.level}")
    for n, peak in peaks.items():
        print(f"int8 peak, {n} thread(s): {peak:.0f} GOP/s")
    print(f"{'type':7} {'tokens':>6} {'threads':>7} {'GOP/s':>7} {'of peak':>7} {'GB/s':>6} {'probe':>6} {'share':>6}")
    cases: list[Case] = []
    for name in arguments.types.split(","):
        for case in measure_type(arguments.level, name, tokens, threads, arguments.rounds):
            cases.append(case)
            of_peak = case.gops / peaks[case.threads] if peaks[case.threads] else 0.0
            print(
                f"{name:7} {case.tokens:6} {case.threads:7} {case.gops:7.1f} {of_peak:7.0%} {case.gbps:6.1f} "
                f"{statistics.median(case.probes):6.1f} {case.share_of_bandwidth:6.0%}",
                flush=True,
            )
    if arguments.json:
        summary = [
            asdict(c) | {"gops": c.gops, "gbps": c.gbps, "share_of_bandwidth": c.share_of_bandwidth} for c in cases
        ]
        result = {"cpu": cpu_info().to_dict(), "level": arguments.level, "int8_peak_gops": peaks, "cases": summary}
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
