"""JSON logs are JSON: every line of a server, and what a formatter makes of anything."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from oxillama.cli.json_log import JsonFormatter
from tests.cli.serving import serving


def formatted(message: str, *args: Any, **extra: Any) -> dict[str, Any]:
    record = logging.LogRecord("oxillama.x", logging.WARNING, __file__, 1, message, args, extra.get("exc_info"))
    found: dict[str, Any] = json.loads(JsonFormatter().format(record))
    return found


def test_a_record_is_one_object() -> None:
    found = formatted('a "quoted" %s\nsecond line', {"a": 1})
    assert found["message"] == "a \"quoted\" {'a': 1}\nsecond line"
    assert (found["level"], found["logger"]) == ("warning", "oxillama.x")
    assert found["time"].endswith("+00:00")
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        assert "ZeroDivisionError" in formatted("x", exc_info=sys.exc_info())["traceback"]


def test_a_server_writes_one_object_a_line_and_nothing_of_probes() -> None:
    with serving("--demo", "--log-format", "json", "--log-level", "info") as server:
        for path in ("/livez", "/readyz", "/health", "/metrics", "/v1/models", "/nothing"):
            server.get(path)
        server.signal()
        _, written = server.process.communicate(timeout=60)
    lines = [json.loads(line) for line in written.splitlines()]
    requests = [line for line in lines if line["logger"] == "oxillama.access"]
    assert [(line["path"], line["status"]) for line in requests] == [("/v1/models", 200), ("/nothing", 404)]
    assert all({"time", "level", "request_id", "seconds"} <= line.keys() for line in requests)
