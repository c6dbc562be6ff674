"""One app's figures for Prometheus, in a registry of their own. Never a text, a key or an address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from oxillama.asgi.registry import ModelRegistry
from oxillama.asgi.request_log import RequestRecord
from oxillama.asgi.served_model import ServedModel
from oxillama.asgi.token_gaps import TokenGaps
from oxillama.errors import InvalidRequestError
from oxillama.values import refused

# Seconds. Prompts and queues take up to minutes.
_WAIT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_WHOLE_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
# The statuses of a request that was not served though nothing was wrong with what it asked.
_REJECTIONS = frozenset({401, 403, 429, 503})
# Tokens: powers of two, up to the longest contexts there are.
_TOKEN_BUCKETS = tuple(float(1 << power) for power in range(0, 21, 2))
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNKNOWN_ROUTE = "unknown"
# Adapters that have a label of their own, the first that were asked for; all others together are OTHERS.
MAX_ADAPTERS = 32
OTHERS = "others"


class Metrics:
    """Counts what an app does, from the records of its requests. models: those that the app serves. registry: the
    host's own, in which the figures then are too; None: one of the app's own.

    Raises InvalidRequestError where the registry has such figures already: it can hold those of one app."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, models: ModelRegistry, registry: CollectorRegistry | None = None) -> None:
        if registry is not None and not isinstance(registry, CollectorRegistry):
            raise refused("registry", "a prometheus_client.CollectorRegistry or None", registry)
        self._registry = CollectorRegistry(auto_describe=True) if registry is None else registry
        try:
            self._register(models)
        except ValueError as error:
            raise InvalidRequestError(
                f"registry has figures of an oxillama app already; give each app one of its own ({error})",
                param="registry",
            ) from error

    def _register(self, models: ModelRegistry) -> None:
        self._requests = self._counter("http_requests", "HTTP requests answered", "route", "method", "status")
        self._choices = self._counter(
            "generations", "Choices delivered, by finish reason", "route", "model_name", "finish_reason"
        )
        self._cancellations = self._counter("cancellations", "Requests whose client left before their end", "route")
        self._rejections = self._counter("rejections", "Requests refused for want of room or of right", "reason")
        self._prompt_tokens = self._counter("prompt_tokens", "Prompt tokens of HTTP requests", "model_name")
        self._cached_tokens = self._counter("cached_tokens", "Those of them that the prefix cache had", "model_name")
        self._completion_tokens = self._counter("completion_tokens", "Tokens written for HTTP requests", "model_name")
        self._first_token = self._histogram(
            "time_to_first_token_seconds", "From submission to the first token", _WAIT_BUCKETS
        )
        self._lora_requests = self._counter("lora_requests", "HTTP requests that an adapter was applied to", "adapter")
        self._adapters: set[str] = set()
        self._gaps = TokenGaps()
        self._registry.register(_GapCollector(self._gaps))
        self._queue = self._histogram("queue_seconds", "From submission to the first step", _WAIT_BUCKETS)
        self._whole = self._histogram("request_seconds", "Of generating requests, until the last byte", _WHOLE_BUCKETS)
        self._prefill = self._histogram("prefill_seconds", "Computing a request's prompt", _WAIT_BUCKETS)
        self._decode = self._histogram("decode_seconds", "From a request's first token to its last", _WHOLE_BUCKETS)
        self._prompt_length = self._histogram("prompt_length_tokens", "Tokens of a prompt", _TOKEN_BUCKETS)
        self._output_length = self._histogram("output_length_tokens", "Tokens written for a request", _TOKEN_BUCKETS)
        self._registry.register(EngineCollector(models))

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self._registry)

    def families(self) -> list[Metric]:
        """The figures as they are now. Those of an engine are there while it is."""
        return list(self._registry.collect())

    def observe(self, record: RequestRecord) -> None:
        """Counts a request that is over."""
        # The path as declared, never as asked for: nobody outside decides how many series there are.
        route = record.route or UNKNOWN_ROUTE
        method = record.method if record.method in _METHODS else "other"
        status = record.logged_status
        # The model's own id, whatever it was called; none of a request that named no model that there is.
        model = record.model or ""
        self._requests.labels(route, method, str(status)).inc()
        if status in _REJECTIONS and record.error is not None:
            self._rejections.labels(record.error).inc()
        if record.disconnected:
            self._cancellations.labels(route).inc()
        for reason in record.finish_reasons:
            self._choices.labels(route, model, reason).inc()
        for name in record.loras:
            if len(self._adapters) < MAX_ADAPTERS:
                self._adapters.add(name)
            self._lora_requests.labels(name if name in self._adapters else OTHERS).inc()
        for usage in record.usages:
            self._prompt_tokens.labels(model).inc(usage.prompt_tokens)
            self._cached_tokens.labels(model).inc(usage.cached_tokens)
            self._completion_tokens.labels(model).inc(usage.completion_tokens)
            self._prompt_length.observe(usage.prompt_tokens)
            self._output_length.observe(usage.completion_tokens)
        for timings in record.timings:
            self._queue.observe(timings.queue)
            for seconds, histogram in (
                (timings.ttft, self._first_token),
                (timings.prefill, self._prefill),
                (timings.decode, self._decode),
            ):
                if seconds > 0:  # a part that there was
                    histogram.observe(seconds)
        self._gaps += record.token_gaps
        if record.timings:
            self._whole.observe(record.seconds)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"oxillama_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"oxillama_{name}", text, buckets=buckets, registry=self._registry)


async def metrics(request: Request) -> Response:
    """`GET /metrics`."""
    figures = request.app.state.metrics
    assert isinstance(figures, Metrics)
    return Response(figures.render(), media_type=figures.content_type)


class _GapCollector(Collector):
    """Times between tokens, which come counted: one by one they would be too many."""

    def __init__(self, gaps: TokenGaps) -> None:
        self._gaps = gaps

    def collect(self) -> Iterator[Metric]:
        buckets, seconds = self._gaps.buckets(), self._gaps.seconds
        text = "Between two tokens of one choice"
        yield HistogramMetricFamily("oxillama_inter_token_seconds", text, buckets=buckets, sum_value=seconds)


class EngineCollector(Collector):
    """The engines' own figures, read when somebody asks; all requests of the process, not only this app's."""

    def __init__(self, models: ModelRegistry) -> None:
        self._models = models

    def describe(self) -> Iterator[Metric]:
        # Nothing: what is collected depends on whether there is an engine.
        return iter(())

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for served in self._models:
            for name, text, values, is_counter in _figures(served):
                states = ("state",) if isinstance(values, dict) else ()
                make = CounterMetricFamily if is_counter else GaugeMetricFamily
                family = families.setdefault(
                    name, make(f"oxillama_engine_{name}", text, labels=(*states, "model_name"))
                )
                assert isinstance(family, CounterMetricFamily | GaugeMetricFamily)
                for state, value in values.items() if isinstance(values, dict) else ((None, values),):
                    family.add_metric((*([] if state is None else [state]), _label(served)), value)
        yield from families.values()
        yield from _adapters(self._models)


Figure: TypeAlias = tuple[str, str, float | dict[str, float], bool]


def _label(served: ServedModel) -> str:
    """The model's own id, or nothing where only a file that is not open yet says it."""
    engine = served.loaded_engine
    return served.name or (engine.name if engine is not None else "")


# Of EngineStats, by its own names: what each means.
_GAUGES = {
    "running": "Sequences in the batch",
    "waiting": "Sequences accepted and not in the batch",
    "queue_depth": "Sequences submitted and not accepted yet",
    "step_seconds": "Duration of the last step",
    "stalled_seconds": "Since the worker last moved; 0 when it has nothing to do",
    "draft_acceptance": "Share of the tokens computed ahead that were written",
    "tokens_per_pass": "Tokens written per pass over a sequence",
}
_COUNTERS = {
    "finished": "Sequences that ended",
    "preemptions": "Sequences put back for want of KV blocks",
    "steps": "Steps of the worker",
    "busy_seconds": "Seconds spent in steps",
    "prompt_tokens": "Prompt tokens computed",
    "cached_tokens": "Prompt tokens that the prefix cache had",
    "output_tokens": "Tokens written",
    "accepted_draft_tokens": "Tokens written that had been computed ahead",
    "rejected_draft_tokens": "Tokens computed ahead in vain",
}


def _figures(served: ServedModel) -> Iterator[Figure]:
    """Name, meaning, value or values by state, and whether it only grows."""
    engine = served.loaded_engine
    ready = engine is not None and engine.state == "ready"
    yield "ready", "1 if the engine takes requests", float(ready), False
    if engine is None or engine.state == "closed":
        return
    stats = engine.stats()
    blocks = {state: float(getattr(stats, f"kv_blocks_{state}")) for state in ("used", "cached", "free")}
    n_bytes = {state: float(getattr(stats, f"kv_bytes_{state}")) for state in ("promised", "resident", "used")}
    total, text = sum(blocks.values()), "Share of the KV cache that running requests hold, 0 to 1"
    yield "kv_blocks", "Blocks of the KV cache by state", blocks, False
    yield "kv_usage_ratio", text, blocks["used"] / total if total else 0.0, False
    text = "Bytes of the KV cache: promised at load, resident by now, used by running requests"
    yield "kv_bytes", text, n_bytes, False
    text = "Bytes promised to the engine: weights, buffers and the whole KV cache"
    yield "memory_promised_bytes", text, float(engine.memory.promised), False
    for names, is_counter in ((_GAUGES, False), (_COUNTERS, True)):
        for name, text in names.items():
            yield name, text, float(getattr(stats, name)), is_counter


def _adapters(models: ModelRegistry) -> Iterator[Metric]:
    """The first adapters of each model by name, and the others together."""
    names = ("adapter", "model_name")
    running = GaugeMetricFamily("oxillama_engine_lora_running", "Requests that an adapter is applied to", labels=names)
    held = GaugeMetricFamily("oxillama_engine_lora_bytes", "Bytes of an adapter", labels=names)
    for served in models:
        engine = served.loaded_engine
        infos = () if engine is None or engine.state == "closed" else engine.loras
        for info in infos[:MAX_ADAPTERS]:
            running.add_metric((info.name, _label(served)), info.running)
            held.add_metric((info.name, _label(served)), info.n_bytes)
        if others := infos[MAX_ADAPTERS:]:
            running.add_metric((OTHERS, _label(served)), sum(info.running for info in others))
            held.add_metric((OTHERS, _label(served)), sum(info.n_bytes for info in others))
    yield running
    yield held
