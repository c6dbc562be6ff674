"""An OpenAI-compatible HTTP API over an engine, as a Starlette app. Needs the extra `server`."""

from oxillama.extras import install_line

try:
    import msgspec  # noqa: F401
    import starlette  # noqa: F401
except ImportError as error:  # pragma: no cover - the tests have both
    raise ImportError(f"oxillama.asgi needs {error.name}: {install_line('server')}", name=error.name) from error

from oxillama.asgi.app import create_app
from oxillama.asgi.disconnect import until_disconnected
from oxillama.asgi.registry import ModelRegistry
from oxillama.asgi.served_model import ServedModel
from oxillama.asgi.settings import Limits

__all__ = ["Limits", "ModelRegistry", "ServedModel", "create_app", "until_disconnected"]
