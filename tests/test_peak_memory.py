"""Loading holds every weight once: the file's pages go as they are packed, and a tied embedding has no second copy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from oxillama.gguf import GGUFFile
from oxillama.testing.tiny_models import TinyModel

# 60 MB, a quarter of them in the tied embedding, which is also the first and the largest tensor.
MODEL = TinyModel(
    type_name="Q8_0", n_vocab=16384, n_embd=1024, n_ff=3072, n_layers=3, n_head=16, head_dim=64, tied=True
)

# Stacks, activations and the piece in work, which do not grow with the model.
FIXED_BYTES = 4 << 20

PROGRAM = """
import sys
from pathlib import Path
from oxillama import Engine

def resident(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(dict(line.split(":", 1) for line in lines)[name].split()[0])

Engine.demo(n_threads=2, progress=False).close()  # whatever is loaded lazily is there now
Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again
before = resident("VmRSS")
options = {"n_ctx": 64, "kv_cache_tokens": 64, "max_batch_size": 1, "max_batch_tokens": 16, "n_threads": 2}
with Engine(sys.argv[1], mmap=sys.argv[2] == "mmap", progress=False, **options) as engine:
    engine.generate([1, 2, 3], max_tokens=2, temperature=0)
    print(resident("VmHWM") - before, engine.memory.kv_cache)
"""


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("peak") / "model.gguf"
    MODEL.write(path)
    return path


@pytest.mark.parametrize("way", ["mmap", "copy"])
def test_peak_memory_is_hardly_more_than_the_weights(model_path: Path, way: str) -> None:
    with GGUFFile(model_path) as file:
        tensor_bytes = sum(tensor.n_bytes for tensor in file.tensors.values())
    assert tensor_bytes > 50e6
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(model_path), way], capture_output=True, text=True, check=True
    )
    peak, kv_bytes = map(int, found.stdout.split())
    assert tensor_bytes < peak <= 1.1 * tensor_bytes + kv_bytes + FIXED_BYTES


SHORT_PROGRAM = """
import sys
from pathlib import Path
from oxillama import Engine

def resident():
    return 1024 * int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])

with Engine.demo(n_threads=1, progress=False) as demo:
    demo.generate([1, 2, 3], max_tokens=1)
with Engine(sys.argv[1], n_ctx=4096, kv_cache_tokens=1 << 18, n_threads=1, progress=False) as engine:
    before = resident()
    engine.generate(list(range(300)), max_tokens=2, temperature=0)
    print(resident() - before, engine.memory.kv_cache)
"""


def test_a_short_prompt_touches_little_of_a_large_cache(tmp_path: Path) -> None:
    # A block's layers lie together: otherwise each of the 24 would take a huge page of 2 MB for ten blocks.
    path = tmp_path / "model.gguf"
    TinyModel(n_embd=64, n_ff=64, n_layers=24, n_head=4, n_head_kv=2, head_dim=16, n_vocab=512, n_ctx=4096).write(path)
    found = subprocess.run([sys.executable, "-c", SHORT_PROGRAM, str(path)], capture_output=True, text=True, check=True)
    grown, kv_bytes = map(int, found.stdout.split())
    assert kv_bytes > 500e6
    assert grown < 24e6


MANY_PROGRAM = """
import sys
from pathlib import Path
from oxillama import Engine

def resident():
    return 1024 * int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])

with Engine.demo(n_threads=1, progress=False) as demo:
    demo.generate([1, 2, 3], max_tokens=1)
with Engine(sys.argv[1], n_threads=1, progress=False) as engine:
    engine.generate([7] * 300, max_tokens=2)
    before = resident()
    for first in range(100):
        engine.generate([first] * 300, max_tokens=2, temperature=0)
    stats = engine.stats()
    print(resident() - before, stats.kv_bytes_resident, stats.kv_bytes_promised)
"""


def test_a_prefix_cache_that_fills_up_takes_one_context_and_not_the_whole_cache(tmp_path: Path) -> None:
    # 24 KiB a token; a hundred prompts that never meet again leave 740 MB behind.
    path = tmp_path / "model.gguf"
    TinyModel(n_embd=64, n_ff=64, n_layers=24, n_head=4, n_head_kv=4, head_dim=64, n_vocab=512, n_ctx=1024).write(path)
    found = subprocess.run([sys.executable, "-c", MANY_PROGRAM, str(path)], capture_output=True, text=True, check=True)
    grown, resident, promised = map(int, found.stdout.split())
    token_bytes = 24 * 2 * 4 * 64 * 2
    assert promised == 32 * 1024 * token_bytes
    # What is kept, a quarter of the cache at most, and the sequence that runs.
    assert 300 * token_bytes < resident <= (8 * 1024 + 352) * token_bytes
    assert grown < resident + (16 << 20)
