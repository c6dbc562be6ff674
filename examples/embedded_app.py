"""An engine inside an application: one engine for all threads, a deadline per request, an orderly end.

The application here is a web server of the standard library with a thread per connection, and its own first visitors.

    python examples/embedded_app.py
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.request import Request, urlopen

from oxillama import DeadlineExceeded, Engine, InvalidRequestError, QueueFullError


def answer(engine: Engine, body: bytes) -> tuple[int, dict[str, Any]]:
    """Status and answer for one request; nothing that a visitor sends ends more than that request."""
    try:
        prompt = json.loads(body)["prompt"]
        story = engine.generate(str(prompt), max_tokens=40, temperature=0, deadline=30)
    except (ValueError, KeyError, TypeError) as error:
        # InvalidRequestError is a ValueError: a prompt that is too long, for example.
        return 400, {"error": str(error), "param": error.param if isinstance(error, InvalidRequestError) else None}
    except QueueFullError as error:
        return 429, {"error": str(error), "retry_after": error.retry_after}
    except DeadlineExceeded as error:
        return 504, {"error": str(error), "story": error.partial.text if error.partial else ""}
    return 200, {"story": story.text, "tokens": story.usage.completion_tokens}


def make_server(engine: Engine) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, found = answer(engine, self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def ask(port: int, prompt: str) -> dict[str, Any]:
    request = Request(f"http://127.0.0.1:{port}/", json.dumps({"prompt": prompt}).encode())
    with urlopen(request, timeout=60) as response:
        found: dict[str, Any] = json.load(response)
        return found


def main() -> None:
    with Engine.demo(progress=False) as engine, make_server(engine) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        prompts = ["Once upon a time", "One day", "The little fox", "Mia"]
        with ThreadPoolExecutor() as visitors:
            for prompt, found in zip(prompts, visitors.map(lambda p: ask(server.server_port, p), prompts), strict=True):
                print(f"{prompt}{found['story']}  [{found['tokens']} tokens]")
        server.shutdown()
        engine.drain(timeout=10)
        print(engine.stats().finished, "requests served")


if __name__ == "__main__":
    main()
