"""OpenTelemetry: a span around each request, with counts as its attributes and never a text. Needs the extra `otel`.

Only the API is used: which spans are kept, and where they go, is the application's choice."""

from __future__ import annotations

from opentelemetry import context, propagate, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from oxillama.asgi.paths import mount_prefix
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
        parent, kind = context.get_current(), SpanKind.INTERNAL
        if not trace.get_current_span(parent).get_span_context().is_valid:
            # Nobody around the app traces: it is the server, and the caller's own trace is in the headers.
            parent, kind = propagate.extract(Headers(scope=scope), parent), SpanKind.SERVER
        # An exception is described by the attributes below: its message may quote a text.
        span = self._tracer.start_span(record.method, parent, kind, record_exception=False)
        prefix = _declared_prefix(scope)  # now: routing will add parameters of the app's own
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                await self.app(scope, receive, send)
            finally:
                if span.is_recording():
                    describe(span, record, prefix)


def describe(span: Span, record: RequestRecord, prefix: str = "") -> None:
    """Names of attributes are those of OpenTelemetry's semantic conventions for HTTP and for generative models.

    prefix: where the app is mounted, a part of every route."""
    span.set_attribute("http.request.method", record.method)
    span.set_attribute("http.response.status_code", record.logged_status)
    span.set_attribute("oxillama.request_id", record.id)
    if record.route is not None:
        route = prefix + record.route
        span.update_name(f"{record.method} {route}")
        span.set_attribute("http.route", route)
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


def _declared_prefix(scope: Scope) -> str:
    """The prefix of the mount as its host declared it: what a client wrote into a parameter of it is in no route."""
    prefix = f"{mount_prefix(scope)}/"
    for name, value in scope.get("path_params", {}).items():
        prefix = prefix.replace(f"/{value}/", f"/{{{name}}}/")
    return prefix.removesuffix("/")
