"""OpenTelemetry spans: what they say of a request, and that they never say a text."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.testclient import TestClient

from oxillama import Engine
from oxillama.asgi import create_app
from oxillama.asgi.request_log import RequestRecord
from oxillama.asgi.tracing import describe
from oxillama.results import Timings, Usage


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[ReadableSpan]]:
    """The spans that have ended. The provider is set for this test only: the API's own setting is for good."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return lambda: list(exporter.get_finished_spans())


def test_a_span_per_request(demo: Engine, spans: Callable[[], list[ReadableSpan]]) -> None:
    client = TestClient(create_app(demo))
    client.post("/tokenize?q=private", json={"content": "private"}, headers={"x-request-id": "id-1"})
    client.get("/private")
    first, second = spans()
    assert first.name == "POST /tokenize"
    assert first.kind is trace.SpanKind.SERVER
    assert first.attributes is not None
    assert dict(first.attributes) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/tokenize",
        "oxillama.request_id": "id-1",
    }
    assert second.name == "GET"
    assert second.attributes is not None
    assert second.attributes["error.type"] == "unknown_route"
    assert "private" not in first.to_json() + second.to_json()


def test_a_span_goes_on_with_the_client_s_trace(demo: Engine, spans: Callable[[], list[ReadableSpan]]) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    TestClient(create_app(demo)).get("/livez", headers={"traceparent": parent})
    (span,) = spans()
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x}" == parent.split("-")[1]
    assert f"{span.parent.span_id:016x}" == parent.split("-")[2]


def test_a_failure_is_told_without_its_message(
    demo: Engine, spans: Callable[[], list[ReadableSpan]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise RuntimeError("private")

    monkeypatch.setattr("oxillama.asgi.tokens._as_llama_server", fail)
    client = TestClient(create_app(demo), raise_server_exceptions=False)
    assert client.post("/tokenize", json={"content": "a"}).status_code == 500
    (span,) = spans()
    assert span.status.status_code is trace.StatusCode.ERROR
    assert not span.events
    assert "private" not in span.to_json()


def test_a_generation_s_counts(spans: Callable[[], list[ReadableSpan]]) -> None:
    record = RequestRecord(id="a", method="POST", path="/p", route="/v1/completions", status=200, model="demo")
    record.usages = [Usage(prompt_tokens=10, completion_tokens=3, cached_tokens=8)] * 2
    record.timings = [Timings(queue=0.02, prefill=0.1, decode=0.3, ttft=0.2)]
    record.finish_reasons = ["length", "stop"]
    with trace.get_tracer("test").start_as_current_span("x") as span:
        describe(span, record)
    (ended,) = spans()
    assert ended.attributes is not None
    assert ended.attributes["gen_ai.request.model"] == "demo"
    assert ended.attributes["gen_ai.usage.input_tokens"] == 20
    assert ended.attributes["gen_ai.usage.output_tokens"] == 6
    assert ended.attributes["oxillama.usage.cached_tokens"] == 16
    assert ended.attributes["oxillama.queue_seconds"] == 0.02
    assert ended.attributes["oxillama.ttft_seconds"] == 0.2
    assert ended.attributes["gen_ai.response.finish_reasons"] == ("length", "stop")


def test_an_app_works_without_the_package(demo: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "oxillama.asgi.tracing")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    app = create_app(demo)
    assert "Tracing" not in [getattr(each.cls, "__name__", "") for each in app.user_middleware]
    assert TestClient(app).get("/livez").status_code == 200
