"""Use the request ring from your own Cython module, without the GIL.

Builds ``native_ring/relay.pyx`` against the declarations and headers that the wheel carries, then lets three threads
send while one receives.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import threading
import time
from pathlib import Path

import oxillama

SOURCE = Path(__file__).parent / "native_ring" / "relay.pyx"
N_THREADS, N_REQUESTS = 3, 100_000


def build(folder: Path) -> Path:
    """Compile the module into ``folder``, as a setup.py of your own would."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    extension = Extension(
        "relay", [str(SOURCE)], include_dirs=[oxillama.get_include()], extra_compile_args=["-std=c11"]
    )
    modules = cythonize([extension], build_dir=str(folder), language_level=3, quiet=True, force=True)  # type: ignore[no-untyped-call]
    command = Distribution({"ext_modules": modules}).get_command_obj("build_ext")
    command.build_lib = command.build_temp = str(folder)
    command.ensure_finalized()
    command.run()
    return next(folder.glob("relay.*.so"))


def main() -> None:
    if importlib.util.find_spec("Cython") is None or importlib.util.find_spec("setuptools") is None:
        print("This example needs cython and setuptools.")
        return
    with tempfile.TemporaryDirectory() as folder:
        spec = importlib.util.spec_from_file_location("relay", build(Path(folder)))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    relay = module.Relay(256)
    senders = [
        threading.Thread(target=relay.send, args=(first, N_REQUESTS))
        for first in range(0, N_THREADS * N_REQUESTS, N_REQUESTS)
    ]
    begin = time.perf_counter()
    for sender in senders:
        sender.start()
    total = relay.receive(N_THREADS * N_REQUESTS)
    seconds = time.perf_counter() - begin
    for sender in senders:
        sender.join()
    expected = sum(range(N_THREADS * N_REQUESTS))
    print(
        f"{N_THREADS * N_REQUESTS} requests from {N_THREADS} threads in {seconds:.2f} s, none lost: {total == expected}"
    )
    sys.exit(total != expected)


if __name__ == "__main__":
    main()
