"""Whether the process lives, whether the engine serves, and what both are."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from oxillama.asgi.errors import JSONResponse
from oxillama.asgi.service import Service
from oxillama.sampling.params import SamplingParams


async def livez(request: Request) -> Response:
    """The process answers."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> Response:
    """Every engine takes requests: not loading, draining, ended or stuck."""
    service = Service.of(request)
    service.check_ready()
    content: dict[str, Any] = {"status": "ok"}
    if len(service.models) > 1:
        content["models"] = {served.id: served.readiness() for served in service.models}
    return JSONResponse(content)


async def version(request: Request) -> Response:
    return JSONResponse(
        {
            "name": "oxillama",
            "version": importlib.metadata.version("oxillama-engine"),
            "python": platform.python_version(),
        }
    )


async def props(request: Request) -> Response:
    """A model and the defaults of a request, as llama-server tells them; paths of the machine are not told. Of several
    models `?model=` names one."""
    served = Service.of(request).model(request.query_params.get("model"))
    engine = served.engine
    specials, file_type = engine.tokenizer, engine.metadata.get("general.file_type")
    content: dict[str, Any] = {
        "default_generation_settings": {"n_ctx": engine.n_ctx, "params": _defaults()},
        "total_slots": engine.max_batch_size,
        "model_alias": served.id,
        "model_ftype": file_type if isinstance(file_type, int) else None,
        "architecture": engine.architecture,
        "n_vocab": engine.n_vocab,
        "modalities": {"vision": False, "audio": False},
        "chat_template": engine.chat_template or "",
        "bos_token": specials.declared_text("bos") if specials else "",
        "eos_token": specials.declared_text("eos") if specials else "",
        "build_info": f"oxillama {importlib.metadata.version('oxillama-engine')}",
    }
    return JSONResponse(content)


def _defaults() -> dict[str, Any]:
    params = SamplingParams()
    shown = (
        "temperature top_k top_p min_p typical_p top_n_sigma xtc_probability xtc_threshold dry_multiplier dry_base "
        "dry_allowed_length dry_penalty_last_n repeat_last_n presence_penalty frequency_penalty dynatemp_range "
        "dynatemp_exponent mirostat mirostat_tau mirostat_eta ignore_eos"
    )
    values = {name: getattr(params, name) for name in shown.split()}
    return {**values, "repeat_penalty": params.repetition_penalty, "max_tokens": params.max_tokens}
