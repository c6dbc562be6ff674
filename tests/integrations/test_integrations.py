"""chromadb, langchain and llama-index over an engine, in the environment of the clients: `make test-clients`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from oxillama import Engine
from tests.integrations.shown import shows
from tests.integrations.texts import QUERY, TEXTS
from tests.tiny_encoder import TinyEncoder

pytestmark = pytest.mark.clients

PYTHON = Path(sys.prefix) / "clients" / "bin" / "python"


@shows("chromadb", "sync", "embeddings")
@shows("langchain", "sync", "async", "embeddings", "reranking")
@shows("llama-index", "sync", "embeddings", "reranking")
def test_they_get_what_the_engine_gives(tmp_path: Path) -> None:
    assert PYTHON.exists(), "`make test-clients` installs the libraries"
    embedder, ranker = tmp_path / "embedder.gguf", tmp_path / "ranker.gguf"
    TinyEncoder().write(embedder)
    TinyEncoder(labels=1, has_pooler=True).write(ranker)
    script = Path(__file__).with_name("drive_integrations.py")
    command = [str(PYTHON), str(script), str(embedder), str(ranker)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    with Engine(embedder, n_threads=1, progress=False) as engine:
        nearest = TEXTS[int(np.argmax(engine.embed(TEXTS) @ engine.embed(QUERY)[0]))]
    with Engine(ranker, n_threads=1, progress=False) as engine:
        best = sorted(engine.rerank(QUERY, TEXTS).tolist(), reverse=True)[:2]
    assert found == {
        "chromadb": nearest,
        "langchain": nearest,
        "langchain rerank": best,
        "llama-index": nearest,
        "llama-index rerank": best,
    }
