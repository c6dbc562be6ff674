"""The extension modules and how they are compiled; everything else is in pyproject.toml."""

import os
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from itertools import chain
from typing import Any

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CORE = "oxillama/_core"
DEBUG = os.environ.get("OXILLAMA_DEBUG") == "1"
SANITIZE = os.environ.get("OXILLAMA_SANITIZE", "")  # for example "address,undefined"
MODULES = os.environ.get("OXILLAMA_MODULES", "").split()  # build these only, for example "gguf.file gguf.scan"
JOBS = int(os.environ.get("OXILLAMA_BUILD_JOBS") or os.cpu_count() or 1)
LEVELS = os.environ.get("OXILLAMA_LEVELS", "").split()  # kernels of these only, for example "reference base"
# Listing what there is needs no C code, and translating takes a minute.
ONLY_LISTS = bool({"dist_info", "egg_info", "sdist"} & set(sys.argv))
# What the tests reach of the core is built in a checkout and stays out of a wheel.
IN_A_WHEEL = "bdist_wheel" in sys.argv

compile_args = ["-std=c11", "-fopenmp-simd", "-pthread", "-ffp-contract=off", "-fvisibility=hidden", "-D_GNU_SOURCE"]
# -g1 names lines in a sanitizer's report; tracking variables too (-g) takes gcc minutes per kernel file.
compile_args += ["-O1", "-g1" if SANITIZE else "-g"] if DEBUG or SANITIZE else ["-O3", "-g0"]
if LEVELS:
    compile_args.append("-DOX_SOME_LEVELS")
link_args = ["-pthread"]
if IN_A_WHEEL and sys.platform == "linux":
    link_args.append("-Wl,-s")  # names of functions are a tenth of what is compiled
# Of the interpreter that it is built for, which a cross compiler says by _PYTHON_HOST_PLATFORM.
if sysconfig.get_platform().endswith(("x86_64", "amd64")):
    compile_args.append("-march=x86-64-v2")
if SANITIZE:
    compile_args += [f"-fsanitize={SANITIZE}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
    link_args.append(f"-fsanitize={SANITIZE}")

# C files that belong to one extension only. One kernel file per instruction set: the pragma in it sets the target.
SOURCES = {
    "network.kernels": [
        source
        for source in sorted(glob(f"{CORE}/csrc/levels/*.c"))
        if not LEVELS or os.path.basename(source).removesuffix(".c") in LEVELS
    ]
}
# Modules that contain kernels, and the headers that all the others share.
KERNEL_MODULES = {"network.kernels", "testing.kernel_harness", "testing.attention_harness", "gguf.quantize"}
SHIMS = [
    "atomics.h",
    "kernels.h",
    "parking.h",
    "sampling/gumbel.h",
    "sampling/philox.h",
    "sampling/rows.h",
    "team.h",
    "threads.h",
    "worker_thread.h",
]


def module(pyx: str) -> str:
    """Its dotted name below oxillama._core."""
    return os.path.relpath(pyx, CORE).removesuffix(".pyx").replace("/", ".")


def is_built(pyx: str) -> bool:
    if IN_A_WHEEL and module(pyx).startswith("testing."):
        return False
    return not MODULES or module(pyx) in MODULES


def headers(name: str) -> list[str]:
    # The kernels are many headers and slow to compile, so an edit of theirs must not rebuild the rest, nor the other
    # way round. Cython itself knows which .pxd a module reads.
    found = sorted(glob(f"{CORE}/csrc/**/*.h", recursive=True))
    shims = [f"{CORE}/csrc/{header}" for header in SHIMS]
    return found if name in KERNEL_MODULES else shims


def extension(pyx: str) -> Extension:
    name = module(pyx)
    # UBSan's checks of every step of the unrolled kernels take a quarter of an hour to compile, and optimising them
    # under AddressSanitizer takes four times as long as not to; the tests' few products are quick either way.
    unchecked = ["-fno-sanitize=undefined", "-O0"] if SANITIZE and name == "network.kernels" else []
    return Extension(
        f"oxillama._core.{name}",
        [pyx, *SOURCES.get(name, [])],
        include_dirs=[f"{CORE}/csrc"],
        depends=headers(name),
        extra_compile_args=compile_args + unchecked,
        extra_link_args=link_args,
    )


class BuildSources(build_ext):
    """Compiles extensions side by side, and the sources of one too: the kernels are one of eighty, minutes each."""

    def finalize_options(self) -> None:
        super().finalize_options()
        if self.parallel is None:
            self.parallel = JOBS

    def build_extensions(self) -> None:
        compile_all = self.compiler.compile
        with ThreadPoolExecutor(JOBS) as pool:  # one for all of them, so that no more run than were asked for

            def compile_each(sources: list[str], **options: Any) -> list[str]:
                return list(chain.from_iterable(pool.map(lambda source: compile_all([source], **options), sources)))

            self.compiler.compile = compile_each
            super().build_extensions()


def extensions() -> list[Extension]:
    found = [extension(pyx) for pyx in sorted(glob(f"{CORE}/**/*.pyx", recursive=True)) if is_built(pyx)]
    if ONLY_LISTS:
        return found
    translated: list[Extension] = cythonize(
        found,
        build_dir="build/cython",
        nthreads=JOBS,
        compiler_directives={
            "language_level": 3,
            "embedsignature": True,
            "boundscheck": DEBUG,
            "wraparound": False,
            "initializedcheck": DEBUG,
            "cdivision": True,
            "auto_pickle": False,  # the generated code reads a `const uint8_t*` member as a C string
            "freethreading_compatible": True,
        },
    )
    return translated


# Cython translates in processes, which may import this file.
if __name__ == "__main__":
    setup(cmdclass={"build_ext": BuildSources}, ext_modules=extensions())
