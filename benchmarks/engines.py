"""The engines that compare.py sets side by side, all asked in the same way: children over a pipe, or llama.cpp's own
benchmark programs."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from oxillama.speed import Task, prompt_tokens

HERE = Path(__file__).parent


class Contestant(Protocol):
    name: str
    build: str
    """The instructions it uses, as it says itself."""

    @property
    def pid(self) -> int | None:
        """A process whose time is ours, for as long as the engine lives."""

    def prepare(self, task: Task) -> None: ...
    def rate(self, task: Task) -> float:
        """Tokens per second of all sequences together."""

    def close(self) -> None: ...


class Child:
    """An engine in a process of its own, asked over a pipe: one JSON line each way."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.build = str(self._answer()["build"])

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def prepare(self, task: Task) -> None:
        self._ask(task, prepare=True)

    def rate(self, task: Task) -> float:
        return float(self._ask(task, prepare=False)["tokens_per_second"])

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, task: Task, *, prepare: bool) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"task": asdict(task), "prepare": prepare}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def oxillama(model: str, threads: int, batch: int, context: int) -> Child:
    command = [sys.executable, str(HERE / "engine_process.py"), model, str(threads), str(batch), str(context)]
    return Child("oxillama", command)


def llama_cpp(python: str, model: str, threads: int, *, repack: bool) -> Child:
    name = "llama.cpp" if repack else "llama.cpp, not repacked"
    return Child(name, [python, str(HERE / "llama_cpp_process.py"), model, str(threads), str(int(repack))])


def can_import_llama_cpp(python: str) -> bool:
    return subprocess.run([python, "-c", "import llama_cpp"], capture_output=True, check=False).returncode == 0


class LlamaBench:
    """llama-bench, and llama-batched-bench for several sequences. They load the model anew each time, and warm up."""

    pid = None

    def __init__(self, model: str, threads: int, bench: str, batched_bench: str | None) -> None:
        self.name = "llama.cpp"
        self.build = "unknown: llama-bench does not say"
        self._common = ["-m", model, "-t", str(threads), "-fa", "1"]
        self._bench, self._batched_bench = bench, batched_bench

    def prepare(self, task: Task) -> None:
        if task.batch > 1 and self._batched_bench is None:
            raise SystemExit(f"{task.label} needs --llama-batched-bench")

    def rate(self, task: Task) -> float:
        if task.batch > 1:
            assert self._batched_bench is not None
            prompt = prompt_tokens(task) - 1
            context = (prompt + task.tokens + 32) * task.batch
            sizes = ["-c", context, "-npp", prompt, "-ntg", task.tokens, "-npl", task.batch]
            rows = self._run(self._batched_bench, *sizes, "--output-format", "jsonl")
            return float(rows[-1]["speed_tg"])
        prefill, decode = (task.tokens, 0) if task.kind == "prefill" else (0, task.tokens)
        rows = self._run(self._bench, "-p", prefill, "-n", decode, "-d", task.depth, "-r", 1, "-o", "jsonl")
        return float(rows[-1]["avg_ts"])

    def close(self) -> None: ...

    def _run(self, program: str, *arguments: object) -> list[dict[str, Any]]:
        return json_rows(output_of([program, *self._common, *map(str, arguments)]))


class IkLlamaCpp:
    """ik_llama.cpp's programs in one folder: llama-bench, llama-sweep-bench for prompts and replies at depth, and
    llama-batched-bench for several sequences. They load the model anew each time, and repack it where `repack`."""

    pid = None

    def __init__(self, model: str, threads: int, folder: str, *, repack: bool) -> None:
        self.name = "ik_llama.cpp" if repack else "ik_llama.cpp, not repacked"
        self.build = "unknown: its programs do not say"
        self._folder = Path(folder)
        self._common = ["-m", model, "-t", str(threads)]
        self._repack = repack

    def prepare(self, task: Task) -> None: ...

    def rate(self, task: Task) -> float:
        if task.batch > 1:
            return self._batch(task)
        if task.depth:
            return self._at_depth(task)
        prefill, decode = (task.tokens, 0) if task.kind == "prefill" else (0, task.tokens)
        sizes = ["-p", prefill, "-n", decode, "-r", 1, "-o", "json", "-fa", 1, "-rtr", int(self._repack)]
        rows = json.loads(output_of([str(self._folder / "llama-bench"), *self._common, *map(str, sizes)]))
        return float(rows[-1]["avg_ts"])

    def _at_depth(self, task: Task) -> float:
        """It reads a prompt in steps and measures at each: the last begins at the depth."""
        step = task.tokens if task.kind == "prefill" else 4 * task.tokens
        if task.depth % step:
            step = next(size for size in range(step, 0, -1) if task.depth % size == 0)
        sizes = ["-c", task.depth + step, "-b", 2048, "-ub", step, "--output-format", "jsonl", "-fa", "on"]
        rows = json_rows(self._output("llama-sweep-bench", *sizes, *self._flags))
        row = next(row for row in reversed(rows) if row["n_kv"] == task.depth)
        return float(row["speed_pp" if task.kind == "prefill" else "speed_tg"])

    def _batch(self, task: Task) -> float:
        prompt = prompt_tokens(task) - 1
        context = (prompt + task.tokens + 32) * task.batch
        sizes = ["-c", context, "-npp", prompt, "-ntg", task.tokens, "-npl", task.batch, "-fa", "on"]
        table = [line.split("|") for line in self._output("llama-batched-bench", *sizes, *self._flags).splitlines()]
        names = next([cell.strip() for cell in row] for row in table if "S_TG t/s" in map(str.strip, row))
        return float(table[max(i for i, row in enumerate(table) if len(row) == len(names))][names.index("S_TG t/s")])

    def close(self) -> None: ...

    @property
    def _flags(self) -> list[str]:
        return ["-rtr"] if self._repack else []

    def _output(self, program: str, *arguments: object) -> str:
        # Both programs write their figures as they write their log, to the stream of errors.
        return output_of([str(self._folder / program), *self._common, *map(str, arguments)], with_errors=True)


def output_of(command: list[str], *, with_errors: bool = False) -> str:
    """What a program prints, `with_errors` on either stream. Raises RuntimeError for one that fails or says nothing."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    printed = f"{done.stdout}\n{done.stderr}" if with_errors else done.stdout
    if done.returncode != 0 or not printed.strip():
        raise RuntimeError(f"{command[0]} ended with code {done.returncode}: {done.stderr[-300:]}")
    return printed


def json_rows(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]
