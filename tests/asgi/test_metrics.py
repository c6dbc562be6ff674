"""The figures for Prometheus: what is counted, under which labels, and what never is."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.testclient import TestClient

from oxillama import Engine, InvalidRequestError
from oxillama.asgi import Limits, create_app
from oxillama.asgi.request_log import RequestRecord
from oxillama.results.completion import Timings, Usage
from tests.asgi.replies import error_of
from tests.patience import eventually, is_idle


def values(client: TestClient, headers: dict[str, str] | None = None) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample of /metrics by its name and the values of its labels, in the order of the labels' names; without the
    model's, of which these apps have one."""
    reply = client.get("/metrics", headers=headers)
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/plain")
    return {
        (
            sample.name,
            tuple(sample.labels[name] for name in sorted(sample.labels) if name != "model_name"),
        ): sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }


@pytest.fixture
def app(demo: Engine) -> Starlette:
    return create_app(demo)


def requests(route: str, method: str, status: str) -> tuple[str, tuple[str, ...]]:
    return ("oxillama_http_requests_total", (method, route, status))


def test_requests_are_counted_by_the_declared_route(app: Starlette) -> None:
    client = TestClient(app)
    client.get("/livez")
    client.get("/livez")
    client.get("/v1/models/demo")
    client.get("/v1/models/private")
    client.get("/private/path")
    client.request("PRIVATE", "/livez")
    found = values(client)
    assert found[requests("/livez", "GET", "200")] == 2
    assert found[requests("/v1/models/{id:path}", "GET", "200")] == 1
    assert found[requests("/v1/models/{id:path}", "GET", "404")] == 1
    assert found[requests("unknown", "GET", "404")] == 1
    assert found[requests("/livez", "other", "405")] == 1
    assert "private" not in client.get("/metrics").text.lower()


def test_two_apps_count_for_themselves(demo: Engine) -> None:
    first, second = TestClient(create_app(demo)), TestClient(create_app(demo))
    first.get("/livez")
    assert requests("/livez", "GET", "200") in values(first)
    assert requests("/livez", "GET", "200") not in values(second)


def test_rejections_are_counted_by_their_code(demo: Engine) -> None:
    client = TestClient(create_app(demo, api_keys=["k"], limits=Limits(requests_per_minute=1)))
    key = {"x-api-key": "k"}
    error_of(client.post("/tokenize", json={"content": "a"}), 401)
    client.post("/tokenize", json={"content": "a"}, headers=key)
    error_of(client.post("/tokenize", json={"content": "a"}, headers=key), 429)
    error_of(client.post("/tokenize", headers=key, content="{"), 429)
    found = values(client, key)
    assert found["oxillama_rejections_total", ("invalid_api_key",)] == 1
    assert found["oxillama_rejections_total", ("rate_limited",)] == 2


def test_a_bad_request_is_no_rejection(app: Starlette) -> None:
    client = TestClient(app)
    error_of(client.post("/tokenize", content="{"), 400)
    assert not [name for name, _ in values(client) if name == "oxillama_rejections_total"]


def test_figures_need_a_key_where_there_are_keys(demo: Engine) -> None:
    error_of(TestClient(create_app(demo, api_keys=["k"])).get("/metrics"), 401)


def test_a_generation_is_counted_from_its_record(app: Starlette) -> None:
    record = RequestRecord(id="a", method="POST", path="/p", route="/v1/completions", status=200)
    record.usages = [Usage(prompt_tokens=10, completion_tokens=3, cached_tokens=8)]
    record.timings = [Timings(queue=0.02, prefill=0.1, decode=0.3, ttft=0.2)]
    record.finish_reasons = ["length", "stop"]
    record.token_gaps.add(0.003)
    record.token_gaps.add(0.03)
    record.finished = record.started + 0.4
    app.state.metrics.observe(record)
    found = values(TestClient(app))
    assert found["oxillama_prompt_tokens_total", ()] == 10
    assert found["oxillama_cached_tokens_total", ()] == 8
    assert found["oxillama_completion_tokens_total", ()] == 3
    assert found["oxillama_generations_total", ("length", "/v1/completions")] == 1
    assert found["oxillama_generations_total", ("stop", "/v1/completions")] == 1
    for name, total in {
        "oxillama_time_to_first_token_seconds": 0.2,
        "oxillama_queue_seconds": 0.02,
        "oxillama_request_seconds": 0.4,
    }.items():
        assert found[f"{name}_count", ()] == 1
        assert found[f"{name}_sum", ()] == pytest.approx(total)
    assert found["oxillama_inter_token_seconds_count", ()] == 2
    assert found["oxillama_inter_token_seconds_bucket", ("0.005",)] == 1
    assert found["oxillama_inter_token_seconds_bucket", ("0.05",)] == 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": ["Once", "One day"], "n": 2, "max_tokens": 6}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "A story?"}], "n": 4, "max_tokens": 6}),
    ],
)
def test_real_generations_are_counted(demo: Engine, path: str, body: dict[str, Any], stream: bool) -> None:
    client = TestClient(create_app(demo))
    assert client.post(path, json={**body, "ignore_eos": True, "stream": stream}).status_code == 200
    found = values(client)
    num_requests = len(body.get("prompt", [0]))
    assert found["oxillama_generations_total", ("length", path)] == 4
    assert found["oxillama_completion_tokens_total", ()] == 4 * 6
    assert found["oxillama_prompt_tokens_total", ()] > 0
    assert found["oxillama_inter_token_seconds_count", ()] == 4 * 5
    assert found["oxillama_time_to_first_token_seconds_count", ()] == num_requests
    assert found["oxillama_time_to_first_token_seconds_sum", ()] > 0
    assert found["oxillama_queue_seconds_count", ()] == num_requests
    assert found["oxillama_request_seconds_count", ()] == 1


def test_gaps_add_up_to_the_time_of_decoding(demo: Engine) -> None:
    app = create_app(demo)
    records: list[RequestRecord] = []
    app.state.service.observers.append(records.append)
    client = TestClient(app)

    def add_up() -> bool:
        records.clear()
        client.post("/v1/completions", json={"prompt": "Once", "max_tokens": 300, "ignore_eos": True})
        (record,) = records
        assert len(record.token_gaps) == 299
        return record.token_gaps.seconds == pytest.approx(record.timings[0].decode, rel=0.5)

    # The first and the last token may each be seen late, on a busy machine by more than all of it takes.
    eventually(add_up)


def test_a_client_that_left_is_a_cancellation(app: Starlette) -> None:
    record = RequestRecord(id="a", method="POST", path="/p", route="/v1/completions", disconnected=True)
    record.finished = record.started
    app.state.metrics.observe(record)
    found = values(TestClient(app))
    assert found["oxillama_cancellations_total", ("/v1/completions",)] == 1
    assert found[requests("/v1/completions", "POST", "499")] == 1


def test_the_engine_s_own_figures(app: Starlette, demo: Engine) -> None:
    demo.generate("Once", max_tokens=4, temperature=0, ignore_eos=True)
    eventually(lambda: is_idle(demo))  # the figures follow the reply
    found = values(TestClient(app))
    stats = demo.stats()
    assert found["oxillama_engine_ready", ()] == 1
    assert found["oxillama_engine_output_tokens_total", ()] == stats.output_tokens > 0
    assert found["oxillama_engine_steps_total", ()] == stats.steps
    blocks = [found["oxillama_engine_kv_blocks", (state,)] for state in ("used", "cached", "free")]
    assert blocks == [stats.kv_blocks_used, stats.kv_blocks_cached, stats.kv_blocks_free]
    assert found["oxillama_engine_kv_usage_ratio", ()] == blocks[0] / sum(blocks)
    cache = [found["oxillama_engine_kv_bytes", (state,)] for state in ("promised", "resident", "used")]
    assert cache == [demo.memory.kv_cache, stats.kv_bytes_resident, stats.kv_bytes_used]
    assert cache[0] >= cache[1] > cache[2]
    assert found["oxillama_engine_memory_promised_bytes", ()] == demo.memory.promised > cache[0]


def test_there_are_figures_before_there_is_an_engine() -> None:
    async def never() -> Engine:
        raise OSError("no model today")

    client = TestClient(create_app(never))
    assert values(client)["oxillama_engine_ready", ()] == 0


def test_a_host_s_registry_has_the_figures_too(demo: Engine) -> None:
    registry = CollectorRegistry()
    Counter("host_visits", "The host's own", registry=registry).inc()
    client = TestClient(create_app(demo, registry=registry))
    body = {"prompt": "Once upon", "max_tokens": 3, "temperature": 0}
    assert client.post("/v1/completions", json=body).status_code == 200
    assert registry.get_sample_value("oxillama_completion_tokens_total", {"model_name": "demo"}) == 3
    assert registry.get_sample_value("host_visits_total") == 1
    assert values(client)["host_visits_total", ()] == 1
    with pytest.raises(InvalidRequestError, match="registry has figures of an oxillama app already") as caught:
        create_app(demo, registry=registry)
    assert caught.value.param == "registry"
    with pytest.raises(InvalidRequestError, match="CollectorRegistry"):
        create_app(demo, registry=object())  # type: ignore[arg-type]


def test_lengths_and_times_are_told_apart(app: Starlette) -> None:
    client = TestClient(app)
    before = values(client)
    body = {"prompt": "Once upon a time", "max_tokens": 5, "temperature": 0}
    usage = client.post("/v1/completions", json=body).json()["usage"]
    after = values(client)

    def grown(name: str, *labels: str) -> float:
        return after[f"oxillama_{name}", labels] - before.get((f"oxillama_{name}", labels), 0.0)

    for name in ("prompt_length_tokens", "output_length_tokens", "prefill_seconds", "decode_seconds"):
        assert grown(f"{name}_count") == 1, name
    assert grown("prompt_length_tokens_sum") == usage["prompt_tokens"]
    assert grown("output_length_tokens_sum") == 5
    assert grown("output_length_tokens_bucket", "4.0") == 0
    assert grown("output_length_tokens_bucket", "16.0") == 1
    assert after["oxillama_engine_stalled_seconds", ()] == 0
