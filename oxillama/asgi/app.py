"""The app: its routes, and the middleware around them in its order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from oxillama.asgi import (
    admin,
    apply_template,
    chat,
    completions,
    embeddings,
    health,
    loras,
    metrics,
    models,
    openapi,
    rerank,
    responses,
    systemone,
    tei,
    tokens,
)
from oxillama.asgi.authentication import Authentication
from oxillama.asgi.body_budget import BodyBudget
from oxillama.asgi.cors import CrossOrigin
from oxillama.asgi.errors import ErrorsToReplies, http_error
from oxillama.asgi.fields import FieldTable
from oxillama.asgi.operations import OPERATIONS
from oxillama.asgi.page import Page, stats
from oxillama.asgi.paths import OnePath
from oxillama.asgi.registry import ModelRegistry, Source
from oxillama.asgi.request_log import RequestLog, record_of
from oxillama.asgi.served_model import EngineFactory
from oxillama.asgi.service import Opening, Service
from oxillama.asgi.settings import Limits, Settings
from oxillama.asgi.structure import HEADER
from oxillama.asgi.suggestion import unknown_route
from oxillama.asgi.throttle import Throttle
from oxillama.asgi.trusted_hosts import TrustedHosts
from oxillama.engine import Engine
from oxillama.tools.syntax import ReplySyntax
from oxillama.tools.table import GivenSyntax, given_syntax
from oxillama.values import refused

# The body's fields of every route that has one.
FIELD_TABLES: tuple[FieldTable, ...] = (
    apply_template.FIELDS,
    chat.FIELDS,
    completions.FIELDS,
    embeddings.FIELDS,
    loras.LOAD_FIELDS,
    loras.VLLM_LOAD_FIELDS,
    loras.VLLM_UNLOAD_FIELDS,
    rerank.FIELDS,
    rerank.V2_FIELDS,
    responses.FIELDS,
    systemone.FIELDS,
    tei.EMBED_FIELDS,
    tei.RERANK_FIELDS,
    tokens.TOKENIZE_FIELDS,
    tokens.DETOKENIZE_FIELDS,
)


def create_app(
    engine: Engine | EngineFactory | Mapping[str, Source] | ModelRegistry,
    *,
    api_keys: Iterable[str] | str | None = None,
    admin_token: str | None = None,
    model_name: str | None = None,
    model_aliases: Iterable[str] | str = (),
    tool_syntax: str | ReplySyntax | Mapping[str, GivenSyntax] | None = None,
    cors_origins: Iterable[str] | str = (),
    trusted_hosts: Iterable[str] | str = (),
    limits: Limits | None = None,
    max_priority: int = 0,
    page: bool = False,
    lora_dirs: Iterable[str] | str = (),
    keep_alive: float = 15.0,
    registry: CollectorRegistry | None = None,
) -> Starlette:
    """An OpenAI-compatible API over an engine or several, alone or mounted under any path of any ASGI app.

    engine: an Engine, which stays its owner's, or an async function that makes one: called with the app's lifespan, or
    with the first request where nobody runs that; until the engine is ready, 503. Of several models a mapping from
    names to any of these, or a ModelRegistry: the model that a request names answers it. api_keys: who may use it;
    none: everybody. admin_token: for the admin routes, which are off without it. model_name: the model's id; else the
    file name. model_aliases: further names; `*` accepts any. tool_syntax: how models call tools, in this app: as for
    Engine(), for all of them or by their names. cors_origins: origins of pages that may call it; `*`: all.
    trusted_hosts: the only names (`localhost`: all of this machine's own) under which it may be called, and whose pages
    may call it; none: no matter. limits: the most that one request or key may ask for. max_priority: how far before
    ordinary requests a client may put its own. page: serve the chat page at `/`. lora_dirs: directories from which an
    admin may load adapters by path. keep_alive: seconds between the
    comments on a stream that has nothing to say. registry: a Prometheus registry of the host, in which the app's
    figures then are besides at `/metrics`; it can hold those of one app.

    Raises InvalidRequestError for an option that cannot be used."""
    settings = Settings(
        api_keys=api_keys,  # type: ignore[arg-type]  # checked and made tuples there
        admin_token=admin_token,
        model_name=model_name,
        model_aliases=model_aliases,  # type: ignore[arg-type]
        cors_origins=cors_origins,  # type: ignore[arg-type]
        trusted_hosts=trusted_hosts,  # type: ignore[arg-type]
        limits=limits if limits is not None else Limits(),
        max_priority=max_priority,
        page=page,
        lora_dirs=lora_dirs,  # type: ignore[arg-type]
        keep_alive=keep_alive,
    )
    models = _registry(engine, settings)
    _set_syntax(models, tool_syntax)
    service = Service(models, settings)
    app = Starlette(
        routes=[*_routes(), *(_page_routes() if page else [])],
        middleware=_middleware(service),
        exception_handlers={HTTPException: _http_exception},
        lifespan=service.lifespan,
    )
    # A redirect would lose the body's method on old clients, and its shape is not that of errors.
    app.router.redirect_slashes = False
    app.state.service = service
    app.state.metrics = metrics.Metrics(service.models, registry)
    service.observers.append(app.state.metrics.observe)
    app.state.operations = OPERATIONS
    return app


def _registry(
    engine: Engine | EngineFactory | Mapping[str, Source] | ModelRegistry, settings: Settings
) -> ModelRegistry:
    if not isinstance(engine, Mapping | ModelRegistry):
        models = ModelRegistry()
        models.add(settings.model_name, engine, aliases=settings.model_aliases)
        return models
    for name in ("model_name", "model_aliases"):
        if getattr(settings, name):
            raise refused(name, "nothing where models have names of their own", getattr(settings, name))
    models = engine if isinstance(engine, ModelRegistry) else ModelRegistry(engine)
    if not models:
        raise refused("engine", "at least one model", engine)
    return models


def _set_syntax(models: ModelRegistry, given: str | ReplySyntax | Mapping[str, GivenSyntax] | None) -> None:
    by_name = given if isinstance(given, Mapping) else None
    names = [model.name for model in models if model.name is not None]
    for name in by_name or ():
        if name not in names:
            raise refused("tool_syntax", f"for models among {', '.join(names) or 'none'}", name)
    for model in models:
        said = given if by_name is None else by_name.get(model.name or "")
        if said is not None:
            model.tool_syntax = given_syntax(said)


class RecordedRoute(Route):
    """A route that writes its template into the request's record: paths are too many for a metric's label."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        record_of(scope).route = self.path
        await super().handle(scope, receive, send)


def _routes() -> Sequence[BaseRoute]:
    return [
        RecordedRoute("/livez", health.livez),
        RecordedRoute("/readyz", health.readyz),
        RecordedRoute("/health", health.readyz),
        RecordedRoute("/version", health.version),
        RecordedRoute("/props", health.props),
        RecordedRoute("/openapi.json", openapi.openapi),
        RecordedRoute("/metrics", metrics.metrics),
        RecordedRoute("/v1/models", models.list_models),
        RecordedRoute("/v1/models/{id:path}", models.get_model),
        RecordedRoute("/v1/chat/completions", chat.create_chat_completion, methods=["POST"]),
        RecordedRoute("/v1/completions", completions.create_completion, methods=["POST"]),
        RecordedRoute("/tokenize", tokens.tokenize, methods=["POST"]),
        RecordedRoute("/detokenize", tokens.detokenize, methods=["POST"]),
        RecordedRoute("/apply-template", apply_template.apply_template, methods=["POST"]),
        RecordedRoute("/v1/responses", responses.responses, methods=["POST"]),
        RecordedRoute("/v1/embeddings", embeddings.embeddings, methods=["POST"]),
        RecordedRoute("/v1/rerank", rerank.rerank, methods=["POST"]),
        RecordedRoute("/v2/rerank", rerank.rerank_v2, methods=["POST"]),
        RecordedRoute("/v1/systemone", systemone.systemone, methods=["POST"]),
        RecordedRoute("/embed", tei.embed, methods=["POST"]),
        RecordedRoute("/embed_sparse", tei.embed_sparse, methods=["POST"]),
        RecordedRoute("/rerank", tei.rerank, methods=["POST"]),
        RecordedRoute("/admin/stats", admin.stats),
        RecordedRoute("/admin/loras", loras.list_loras),
        RecordedRoute("/admin/loras", loras.load_lora, methods=["POST"]),
        RecordedRoute("/admin/loras", loras.unload_lora, methods=["DELETE"]),
        RecordedRoute("/admin/loras/{name:path}", loras.unload_lora, methods=["DELETE"]),
        RecordedRoute("/v1/load_lora_adapter", loras.load_lora_adapter, methods=["POST"]),
        RecordedRoute("/v1/unload_lora_adapter", loras.unload_lora_adapter, methods=["POST"]),
    ]


def _page_routes() -> Sequence[BaseRoute]:
    page = Page()
    return [
        RecordedRoute("/", page.index),
        RecordedRoute("/static/{name}", page.file),
        RecordedRoute("/stats.json", stats),
    ]


def _middleware(service: Service) -> list[Middleware]:
    """Outermost first."""
    settings = service.settings
    cross_origin = Middleware(
        CrossOrigin,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],
        expose_headers=["x-request-id", "openai-processing-ms", "retry-after", "retry-after-ms", HEADER],
    )
    limits = settings.limits
    throttle = Middleware(Throttle, limits=limits)
    trusted = Middleware(TrustedHosts, hosts=settings.trusted_hosts, origins=settings.cors_origins)
    return [
        Middleware(OnePath),
        Middleware(RequestLog, observe=service.observe),
        *_tracing(),
        # Outside the errors, so that a page can read those too.
        *([cross_origin] if settings.cors_origins else []),
        Middleware(ErrorsToReplies),
        *([trusted] if settings.trusted_hosts else []),
        Middleware(Authentication, api_keys=settings.api_keys, admin_token=settings.admin_token),
        *([throttle] if limits.requests_per_minute or limits.concurrent_requests else []),
        Middleware(BodyBudget, max_bytes=limits.max_bodies_bytes),
        Middleware(Opening, service=service),
    ]


def _tracing() -> list[Middleware]:
    try:
        from oxillama.asgi.tracing import Tracing
    except ImportError:  # the extra is not installed
        return []
    return [Middleware(Tracing)]


async def _http_exception(request: Request, error: Exception) -> Response:
    is_unknown = isinstance(error, HTTPException) and error.status_code == 404
    reply = unknown_route(request) if is_unknown else http_error(error)
    record_of(request.scope).error = reply.code or reply.type
    return reply.to_response()
