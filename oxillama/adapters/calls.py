"""An engine's calls about adapters."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import anyio.to_thread

from oxillama.results.adapters import LoraInfo

if TYPE_CHECKING:
    from oxillama.adapters.table import AdapterTable
    from oxillama.lifecycle import Lifecycle


class AdapterCalls:
    """The part of an Engine that loads and unloads them."""

    _adapters: AdapterTable
    _lifecycle: Lifecycle

    @property
    def loras(self) -> tuple[LoraInfo, ...]:
        """The loaded adapters, with the requests that each is applied to now."""
        return self._adapters.infos()

    def has_lora(self, name: str) -> bool:
        """Whether an adapter of that name is loaded: at once, however many there are."""
        return name in self._adapters

    def load_lora(
        self, name: str, path: str | os.PathLike[str], *, scale: float = 1.0, origin: str | None = None
    ) -> LoraInfo:
        """Loads a low-rank adapter of the model, which requests ask for with `lora=name` or `lora=[(name, scale)]`.

        path: of a GGUF adapter, or of a folder as PEFT writes it (`adapter_config.json`, `adapter_model.safetensors`).
        scale: what the scales of requests are multiplied with. origin: what `loras` tells as its path, for a file that
        is only there for this call. Runs in the calling thread and holds up no request.
        Raises AdapterError, naming what was expected and what was found; nothing is left behind then."""
        self._lifecycle.check_usable()
        return self._adapters.load(name, path, scale=scale, origin=origin)

    async def aload_lora(
        self, name: str, path: str | os.PathLike[str], *, scale: float = 1.0, origin: str | None = None
    ) -> LoraInfo:
        return await anyio.to_thread.run_sync(partial(self.load_lora, name, path, scale=scale, origin=origin))

    def unload_lora(self, name: str, *, when_idle: bool = False, force: bool = False) -> None:
        """Forgets an adapter and what is cached of its prompts, and frees its memory.

        While it is applied to requests, an AdapterError with their number; with when_idle, new requests are refused at
        once and the call returns when those that run have ended; with force, they end with AdapterError."""
        self._lifecycle.check_process()
        self._adapters.unload(name, when_idle=when_idle, force=force)

    async def aunload_lora(self, name: str, *, when_idle: bool = False, force: bool = False) -> None:
        self._lifecycle.check_process()
        await self._adapters.aunload(name, when_idle=when_idle, force=force)
