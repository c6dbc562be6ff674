"""An HTTP server under load: time to first token, time between tokens, tokens per second, at 1 to 32 clients; and what
the HTTP layer costs, beside the same work asked of the engine directly.

    python benchmarks/http_load.py model.gguf [--clients 1,4,16,32] [--peer-python PATH] [--json FILE]

A round asks each server in turn, so that a change of the machine hits all alike. The peer is llama-cpp-python's server
with the same file, where its Python has one. The servers run in processes of their own; the clients share this one.
What the HTTP layer costs is measured with clients that only look at their streams now and then."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oxillama import Tokenizer

HERE = Path(__file__).parent
LOOK_SECONDS = 0.05


@dataclass
class Visit:
    """What one client saw of its stream; seconds from when it asked."""

    arrivals: list[float] = field(default_factory=list)  # of events with text
    tokens: int = 0

    @property
    def ttft(self) -> float:
        return self.arrivals[0]

    @property
    def gaps(self) -> list[float]:
        return [after - before for before, after in zip(self.arrivals, self.arrivals[1:], strict=False)]


@dataclass
class Server:
    name: str
    port: int
    process: subprocess.Popen[str]

    def ask(self, **task: Any) -> dict[str, float]:
        """What our server's process answers: see http_server_process.py."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        answer: dict[str, float] = json.loads(self.process.stdout.readline())
        return answer


def request_of(prompt: str, tokens: int) -> bytes:
    fields = {"model": "any", "prompt": prompt, "max_tokens": tokens, "temperature": 0, "stream": True}
    body = json.dumps({**fields, "ignore_eos": True, "cache_prompt": False}).encode()
    head = "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def rate_without_clients(port: int, prompts: list[str], tokens: int) -> float:
    """Tokens per second for clients that look at their streams only now and then: what clients cost on the same cores
    is no part of the server."""
    begin = time.perf_counter()
    tails: dict[socket.socket, bytes] = {}
    for prompt in prompts:
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(request_of(prompt, tokens))
        client.setblocking(False)
        tails[client] = b""
    while tails:
        time.sleep(LOOK_SECONDS)
        for client in list(tails):
            with suppress(BlockingIOError):
                while part := client.recv(1 << 20):
                    tails[client] = (tails[client] + part)[-64:]
                if b"[DONE]" not in tails.pop(client):
                    raise RuntimeError("a stream ended before its end")
                client.close()
    return len(prompts) * tokens / (time.perf_counter() - begin)


async def visit(port: int, prompt: str, tokens: int) -> Visit:
    """One streamed completion. No client library: its work would be taken for the server's."""
    seen = Visit()
    begin = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_of(prompt, tokens))
    status = await reader.readline()
    if b" 200 " not in status:
        raise RuntimeError((status + await reader.read()).decode()[:2000])
    ended = None
    async for line in reader:
        if not line.startswith(b"data: {"):
            continue
        for choice in json.loads(line[6:])["choices"]:
            seen.arrivals.append(time.perf_counter() - begin)
            ended = choice["finish_reason"]
    # The peer cannot be kept from ending early.
    seen.tokens = tokens if ended == "length" else len(seen.arrivals)
    writer.close()
    return seen


async def load(port: int, prompts: list[str], tokens: int) -> dict[str, Any]:
    begin = time.perf_counter()
    visits = await asyncio.gather(*(visit(port, prompt, tokens) for prompt in prompts))
    seconds = time.perf_counter() - begin
    gaps = [gap for each in visits for gap in each.gaps]
    ttfts = [each.ttft for each in visits]
    return {
        "tokens_per_second": sum(each.tokens for each in visits) / seconds,
        "ttft_p50": quantile(ttfts, 0.5),
        "ttft_p95": quantile(ttfts, 0.95),
        "gap_p50": quantile(gaps, 0.5),
        "gap_p95": quantile(gaps, 0.95),
    }


def visit_all(server: Server, prompts: list[str], tokens: int) -> dict[str, Any]:
    found = asyncio.run(load(server.port, prompts, tokens))
    if server.name == "oxillama":
        before = server.ask()["loop_seconds"]
        found["rate_without_clients"] = rate_without_clients(server.port, prompts, tokens)
        found["loop_seconds"] = server.ask()["loop_seconds"] - before
    return found


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))] if ordered else 0.0


@contextmanager
def our_server(model: str, threads: int, batch: int) -> Iterator[Server]:
    command = [sys.executable, str(HERE / "http_server_process.py"), model, str(threads), str(batch)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Server("oxillama", int(json.loads(process.stdout.readline())["port"]), process)
    finally:
        process.stdin.close()
        process.wait()


@contextmanager
def peer_server(python: str, model: str, threads: int) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [python, "-m", "llama_cpp.server", "--model", model, "--port", str(port), "--n_ctx", "4096"]
    command += ["--n_threads", str(threads), "--n_threads_batch", str(threads), "--interrupt_requests", "false"]
    command += ["--flash_attn", "true"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
    try:
        limit = time.monotonic() + 60
        while True:
            if process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError("the peer's server did not start")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield Server("llama-cpp-python", port, process)
    finally:
        process.terminate()
        process.wait()


def has_peer(python: str) -> bool:
    return (
        subprocess.run([python, "-c", "import llama_cpp.server.app"], capture_output=True, check=False).returncode == 0
    )


def prompts_of(tokenizer: Tokenizer, clients: int, length: int, seed: int) -> list[str]:
    """Texts without sense, of about so many tokens; not ids, which the peer does not take."""
    chosen = random.Random(seed)
    plain = range(tokenizer.n_vocab // 20, tokenizer.n_vocab // 2)
    return [tokenizer.decode([chosen.choice(plain) for _ in range(length)]) for _ in range(clients)]


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    rounds: list[dict[str, Any]] = []
    tokenizer = Tokenizer.from_gguf(args.model)
    with ExitStack() as stack:
        servers = [stack.enter_context(our_server(args.model, args.threads, max(args.clients)))]
        if args.peer_python and has_peer(args.peer_python):
            servers.append(stack.enter_context(peer_server(args.peer_python, args.model, args.threads)))
        for number in range(-1, args.rounds):
            tokens = args.tokens if number >= 0 else 8  # the first round warms up
            for clients in args.clients:
                prompts = prompts_of(tokenizer, clients, args.prompt, seed=number * 1000 + clients)
                found: dict[str, Any] = {"clients": clients}
                # Which of the two comes first changes, so that a trend favours neither.
                for what in ("engine", "http") if number % 2 else ("http", "engine"):
                    if what == "http":
                        for server in servers:
                            if server.name == "oxillama" or clients <= args.peer_clients:
                                found[server.name] = visit_all(server, prompts, tokens)
                    else:
                        found["engine"] = servers[0].ask(prompts=prompts, tokens=tokens)
                total = clients * tokens
                busy = found["oxillama"].pop("loop_seconds") - found["engine"].pop("loop_seconds")
                found["loop_microseconds"] = busy / total * 1e6
                found["engine"] = found["engine"]["tokens_per_second"]
                found["overhead"] = 1 - found["oxillama"]["rate_without_clients"] / found["engine"]
                print(json.dumps(found), file=sys.stderr)
                if number >= 0:
                    rounds.append(found)
    return rounds


def summary(rounds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Medians over the rounds."""
    lines = []
    for clients in sorted({each["clients"] for each in rounds}):
        of = [each for each in rounds if each["clients"] == clients]
        line: dict[str, Any] = {"clients": clients}
        for key in ("overhead", "engine", "loop_microseconds"):
            line[key] = statistics.median(each[key] for each in of)
        for name in ("oxillama", "llama-cpp-python"):
            if name in of[0]:
                line[name] = {key: statistics.median(each[name][key] for each in of) for key in of[0][name]}
        lines.append(line)
    return lines


def show(lines: list[dict[str, Any]]) -> None:
    heads = "".join(f"{head:>10}" for head in ("tokens/s", "TTFT p50", "p95", "gap p50", "p95"))
    print(f"{'clients':>7}  {'server':<16}{heads}   over the engine alone")
    for line in lines:
        for name in ("oxillama", "llama-cpp-python"):
            if name not in line:
                continue
            each = line[name]
            times = "".join(f"{each[key] * 1000:8.1f}ms" for key in ("ttft_p50", "ttft_p95", "gap_p50", "gap_p95"))
            cost = f"{line['overhead']:.1%} less, {line['loop_microseconds']:.0f} us of CPU more for each token"
            cost = cost if name == "oxillama" else ""
            print(f"{line['clients']:>7}  {name:<16}{each['tokens_per_second']:10.1f}{times}   {cost}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--clients", type=lambda text: [int(part) for part in text.split(",")], default=[1, 4, 16, 32])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=64, help="tokens of each prompt")
    parser.add_argument("--tokens", type=int, default=64, help="tokens that each client asks for")
    parser.add_argument("--rounds", type=int, default=4, help="even, so that both orders count alike")
    parser.add_argument("--peer-python", help="a Python with llama_cpp.server")
    parser.add_argument(
        "--peer-clients", type=int, default=4, help="most clients for the peer, which serves one at a time"
    )
    parser.add_argument("--json", type=Path, help="where to write all figures")
    args = parser.parse_args()
    rounds = measure(args)
    lines = summary(rounds)
    show(lines)
    if args.json:
        args.json.write_text(json.dumps({"model": args.model, "rounds": rounds, "medians": lines}, indent=1))


if __name__ == "__main__":
    main()
