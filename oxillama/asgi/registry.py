"""The models that an app serves, by their names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from oxillama.asgi.errors import HTTPError, refusal
from oxillama.asgi.served_model import EngineFactory, ServedModel
from oxillama.engine import Engine
from oxillama.requests.capabilities import Capability
from oxillama.values import refused

Source: TypeAlias = Engine | EngineFactory | ServedModel

_DOES: dict[Capability, str] = {
    "generate": "generate text",
    "embed": "embed texts",
    "rerank": "rank documents",
}


class ModelRegistry:
    """Models under names that no two of them share.

    models: sources by name. `add` takes more of them, also while the app serves. Of several models that can do what is
    asked, a request without a name gets the one that was added first, and one that does nothing else before one that
    also generates."""

    def __init__(self, models: Mapping[str, Source] | None = None) -> None:
        self._models: list[ServedModel] = []
        for name, source in (models or {}).items():
            self.add(name, source)

    def add(self, name: str | None, source: Source, *, aliases: Iterable[str] | str = ()) -> ServedModel:
        """name: None: as the ServedModel or the file says. Raises InvalidRequestError for a name that is taken."""
        if isinstance(source, ServedModel):
            if name is not None and source.name not in (None, name):
                raise refused("name", f"the model's own, {source.name!r}, or None", name)
            model = source
            model.name = name or source.name
        else:
            model = ServedModel(source, name=name, aliases=aliases)
        taken = {known for other in self._models for known in _known_names(other)}
        for known in _known_names(model):
            if known in taken:
                raise refused("name", "one that no other model has", known)
        self._models.append(model)
        return model

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    @property
    def first(self) -> ServedModel:
        return self._models[0]

    def find(self, name: str | None, kind: Capability | None = None) -> ServedModel:
        """The model that answers to a name and can do what is asked. Raises HTTPError: 404 for a name that no model
        answers to, 400 with the names of models that can where this one cannot."""
        named = self._models if name is None else self._named(name)
        able = [model for model in named if model.can(kind)]
        if not able:
            raise self._unable(named, kind)
        # One whose engine is not there yet may turn out not to be able.
        return min(able, key=lambda model: (model.loaded_engine is None, kind != "generate" and _generates(model)))

    def _named(self, name: str) -> list[ServedModel]:
        found = [model for model in self._models if name in model.ids]
        found = found or [model for model in self._models if model.adapter_of(name) is not None]
        found = found or [model for model in self._models if model.takes_any_name]
        if not found:
            message = "there is no model of that name; GET /v1/models lists them"
            raise HTTPError(404, message, param="model", code="model_not_found")
        return found

    def _unable(self, asked: list[ServedModel], kind: Capability | None) -> HTTPError:
        assert kind is not None
        able = [model.id for model in self._models if model.can(kind)]
        hint = f"models that can: {', '.join(able)}" if able else "no model of this server can"
        which = f"the model {asked[0].id!r} does not" if len(asked) == 1 else "these models do not"
        return refusal(f"{which} {_DOES[kind]}; {hint}", "model", code="model_cannot")


def _generates(model: ServedModel) -> bool:
    return "generate" in (model.capabilities or ())


def _known_names(model: ServedModel) -> list[str]:
    engine = model.loaded_engine
    own = model.name or (engine.name if engine is not None else None)
    return list(dict.fromkeys([*([own] if own else []), *model.aliases]))
