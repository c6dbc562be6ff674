"""What tests of an application need: an engine with a script, tiny models, strategies, and comparisons.

`strategies` needs the extra `testing`; importing this does not."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oxillama.testing.distributions import assert_same_distribution
    from oxillama.testing.scripted import Reply, ScriptedEngine
    from oxillama.testing.tiny_models import TinyModel

_HOMES = {
    "Reply": "scripted",
    "ScriptedEngine": "scripted",
    "TinyModel": "tiny_models",
    "assert_same_distribution": "distributions",
}

__all__ = ["Reply", "ScriptedEngine", "TinyModel", "assert_same_distribution"]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
