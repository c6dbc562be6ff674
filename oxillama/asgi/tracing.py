"""OpenTelemetry: a span around each request, with counts as its attributes and never a text. Needs the extra `otel`.

Only the API is used: which spans are kept, and where they go, is the application's choice."""

from __future__ import annotations

from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from oxillama.asgi.request_log import RequestRecord, record_of


class Tracing:
    """Middleware inside the request log, whose record becomes the span's attributes."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._tracer = trace.get_tracer("oxillama")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        record = record_of(scope)
        parent = propagate.extract(Headers(scope=scope))
        # An exception is described by the attributes below: its message may quote a text.
        span = self._tracer.start_span(record.method, parent, SpanKind.SERVER, record_exception=False)
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                await self.app(scope, receive, send)
            finally:
                if span.is_recording():
                    describe(span, record)


def describe(span: Span, record: RequestRecord) -> None:
    """Names of attributes are those of OpenTelemetry's semantic conventions for HTTP and for generative models."""
    span.set_attribute("http.request.method", record.method)
    span.set_attribute("http.response.status_code", record.logged_status)
    span.set_attribute("oxillama.request_id", record.id)
    if record.route is not None:
        span.update_name(f"{record.method} {record.route}")
        span.set_attribute("http.route", record.route)
    if record.model is not None:
        span.set_attribute("gen_ai.request.model", record.model)
    if record.usages:
        span.set_attribute("gen_ai.usage.input_tokens", sum(usage.prompt_tokens for usage in record.usages))
        span.set_attribute("gen_ai.usage.output_tokens", sum(usage.completion_tokens for usage in record.usages))
        span.set_attribute("oxillama.usage.cached_tokens", sum(usage.cached_tokens for usage in record.usages))
    if record.timings:
        span.set_attribute("oxillama.queue_seconds", max(timings.queue for timings in record.timings))
        span.set_attribute("oxillama.ttft_seconds", min(timings.ttft for timings in record.timings))
    if record.finish_reasons:
        span.set_attribute("gen_ai.response.finish_reasons", list(record.finish_reasons))
    if record.error is not None:
        span.set_attribute("error.type", record.error)
    if record.logged_status >= 500:
        span.set_status(Status(StatusCode.ERROR))
