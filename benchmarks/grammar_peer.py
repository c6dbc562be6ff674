"""What a grammar costs per token, beside llama.cpp on the same file.

    python benchmarks/grammar_peer.py --vocab VOCAB.gguf --peer-python PATH [--rounds 5] [--tokens 100] [--json FILE]

A model of two layers with random weights follows no schema: nearly every token that it would write is refused. That is
the worst case, which an unlucky prompt or an attacker gets. The cost is the time per token with the schema less that
without, at temperature 0 and 1, one thread; medians of rounds in which both programs take turns. llama.cpp samples
as its server does (llama_cpp_grammar_process.py)."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from oxillama import Engine, Grammar
from tools.random_model import write_model

CHILD = Path(__file__).with_name("llama_cpp_grammar_process.py")
OBJECT = {"name": {"type": "string"}, "count": {"type": "integer"}, "flag": {"type": "boolean"}}
SCHEMAS: dict[str, Any] = {
    "object with three properties": {
        "type": "object",
        "properties": OBJECT,
        "required": list(OBJECT),
        "additionalProperties": False,
    },
    "array of strings": {"type": "array", "items": {"type": "string"}},
    "array of booleans": {"type": "array", "items": {"type": "boolean"}},
    "array of a 500-way enum": {"type": "array", "items": {"enum": [f"value-{i:03}" for i in range(500)]}},
}
TEMPERATURES = (0.0, 1.0)


class Peer:
    def __init__(self, python: str, model: Path) -> None:
        command = [python, str(CHILD), str(model), "1"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def seconds(self, schema: Any, temperature: float, n_tokens: int, seed: int) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        task = {"schema": schema, "temperature": temperature, "tokens": n_tokens, "seed": seed}
        print(json.dumps(task), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("llama.cpp has ended; run its process by hand to see why")
        return float(json.loads(line)["seconds"])

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def own_seconds(engine: Engine, schema: Any, temperature: float, n_tokens: int, seed: int) -> float:
    """Of so many tokens, of as many replies as it takes: one that is complete ends."""
    held_to = None if schema is None else Grammar.json_schema(schema)
    seconds, n = 0.0, 0
    while n < n_tokens:
        seed += 1
        reply = engine.generate(
            "A", grammar=held_to, temperature=temperature, max_tokens=n_tokens, ignore_eos=True, seed=seed
        )
        seconds += reply.timings.decode
        n += max(1, len(reply.token_ids) - 1)
    return seconds * n_tokens / n


def measure(engine: Engine, peer: Peer | None, options: argparse.Namespace) -> list[dict[str, Any]]:
    found: dict[tuple[str, float, str], list[float]] = {}
    for turn in range(options.rounds + 1):
        for temperature in TEMPERATURES:
            for name, schema in [("none", None), *SCHEMAS.items()]:
                seed = 1000 * turn
                rows = {"oxillama": own_seconds(engine, schema, temperature, options.tokens, seed)}
                if peer is not None:
                    rows["llama.cpp"] = peer.seconds(schema, temperature, options.tokens, seed)
                if turn:  # the first compiles and warms up
                    for program, seconds in rows.items():
                        found.setdefault((name, temperature, program), []).append(1e6 * seconds / options.tokens)
    report = []
    for (name, temperature, program), values in found.items():
        plain = statistics.median(found["none", temperature, program])
        cost = statistics.median(values) - plain
        report.append(
            {"schema": name, "temperature": temperature, "program": program, "plain_us": plain, "cost_us": cost}
        )
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab", type=Path, help="GGUF file whose vocabulary the model gets; None: a made-up one")
    parser.add_argument("--peer-python", help="an interpreter that has llama-cpp-python")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.gguf"
        write_model(path, "llama-1b", "Q4_0", block_count=2, vocab=options.vocab)
        peer = Peer(options.peer_python, path) if options.peer_python else None
        try:
            with Engine(path, n_threads=1, n_ctx=1024, progress=False, speculation="off") as engine:
                report = measure(engine, peer, options)
        finally:
            if peer is not None:
                peer.close()
    for row in report:
        print(
            f"{row['schema']:32} temperature {row['temperature']:g}  {row['program']:10} {row['cost_us']:+10.0f} us"
            f" over {row['plain_us']:.0f}"
        )
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
