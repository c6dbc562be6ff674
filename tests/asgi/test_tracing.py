"""OpenTelemetry spans: what they say of a request, and that they never say a text."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from starlette.applications import Starlette
from starlette.middleware.base import RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from oxillama import Engine
from oxillama.asgi import create_app
from oxillama.asgi.request_log import RequestRecord
from oxillama.asgi.tracing import describe
from oxillama.results.completion import Timings, Usage


@pytest.fixture
def provider() -> TracerProvider:
    return TracerProvider(sampler=ParentBased(ALWAYS_ON))


@pytest.fixture
def spans(provider: TracerProvider, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[ReadableSpan]]:
    """The spans that have ended. The provider is set for this test only: the API's own setting is for good."""
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", lambda name, *others, **options: provider.get_tracer(name))
    return lambda: list(exporter.get_finished_spans())


def own(spans: list[ReadableSpan]) -> ReadableSpan:
    """The one span of the app itself, among those of what is around it."""
    (found,) = (span for span in spans if "oxillama.request_id" in (span.attributes or {}))
    return found


def server_span(spans: list[ReadableSpan]) -> ReadableSpan:
    (found,) = (span for span in spans if span.kind is trace.SpanKind.SERVER)
    return found


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


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("mounted", [False, True])
def test_a_span_goes_on_with_the_client_s_trace(
    demo: Engine, spans: Callable[[], list[ReadableSpan]], mounted: bool
) -> None:
    """As the server's own span, where nobody around the app traces."""
    app = create_app(demo)
    client = TestClient(Starlette(routes=[Mount("/llm", app)]) if mounted else app)
    client.get("/llm/livez" if mounted else "/livez", headers={"traceparent": PARENT})
    (span,) = spans()
    assert span.kind is trace.SpanKind.SERVER
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x}" == PARENT.split("-")[1]
    assert f"{span.parent.span_id:016x}" == PARENT.split("-")[2]


def instrumented_fastapi(app: ASGIApp, provider: TracerProvider) -> ASGIApp:
    service = FastAPI()

    @service.middleware("http")
    async def passing(request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)

    service.mount("/llm", app)
    FastAPIInstrumentor.instrument_app(service, tracer_provider=provider)
    return service


def instrumented_asgi(app: ASGIApp, provider: TracerProvider) -> ASGIApp:
    host = Starlette(routes=[Mount("/llm", app)])
    return OpenTelemetryMiddleware(host, tracer_provider=provider)


@pytest.mark.parametrize("host", [instrumented_fastapi, instrumented_asgi])
@pytest.mark.parametrize("headers", [{}, {"traceparent": PARENT}])
def test_a_span_in_an_instrumented_host_is_a_part_of_the_host_s(
    demo: Engine,
    provider: TracerProvider,
    spans: Callable[[], list[ReadableSpan]],
    host: Callable[[ASGIApp, TracerProvider], ASGIApp],
    headers: dict[str, str],
) -> None:
    body = {"prompt": "Once", "max_tokens": 2}
    reply = TestClient(host(create_app(demo), provider)).post("/llm/v1/completions", json=body, headers=headers)
    assert reply.status_code == 200
    span, around = own(spans()), server_span(spans())
    assert span is not around
    assert span.kind is trace.SpanKind.INTERNAL
    assert span.context is not None
    assert around.context is not None
    assert span.parent is not None
    assert span.parent.span_id == around.context.span_id
    assert {each.context and each.context.trace_id for each in spans()} == {around.context.trace_id}
    if headers:
        assert f"{span.context.trace_id:032x}" == PARENT.split("-")[1]
    assert span.name == "POST /llm/v1/completions"
    assert span.attributes is not None
    assert span.attributes["http.route"] == "/llm/v1/completions"
    assert span.attributes["gen_ai.usage.output_tokens"] == 2


def test_what_the_host_does_not_sample_is_not_sampled(
    demo: Engine, provider: TracerProvider, spans: Callable[[], list[ReadableSpan]]
) -> None:
    app = instrumented_fastapi(create_app(demo), provider)
    unsampled = PARENT.removesuffix("01") + "00"
    assert TestClient(app).get("/llm/livez", headers={"traceparent": unsampled}).status_code == 200
    assert spans() == []


def test_the_prefix_is_the_one_that_the_host_has_declared(
    demo: Engine, spans: Callable[[], list[ReadableSpan]]
) -> None:
    host = Starlette(routes=[Mount("/{tenant}/{number:int}", create_app(demo, model_name="private"))])
    TestClient(host, root_path="/proxy").get("/proxy/private/5/v1/models/private")
    (span,) = spans()
    assert span.attributes is not None
    assert span.attributes["http.route"] == "/proxy/{tenant}/{number}/v1/models/{id:path}"
    assert "private" not in span.to_json()


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
