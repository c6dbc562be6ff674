#!/usr/bin/env bash
# Runs tests of the kernels as arm64 programs under qemu: the modules that they need from a cross compiler, Python and its
# libraries from arm64 packages, all of it below build/neon. Usage: tools/neon_tests.sh PYTHON3.11 [pytest arguments]
# Debian packages that it needs: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -ge 1 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
python=$(realpath --no-symlinks "$1")
shift
for program in aarch64-linux-gnu-gcc qemu-aarch64-static dpkg-deb; do
    command -v "$program" >/dev/null || { echo "missing: $program (see the head of $0)" >&2; exit 1; }
done
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "needs Python 3.11, which Debian 12 has" >&2; exit 1; }

work=$PWD/build/neon
root=$work/root site=$work/site tree=$work/tree
mkdir -p "$work"

# Debian's Python for arm64, unpacked and not installed. Its own lists and status keep apt's untouched.
if [ ! -e "$root/done" ]; then
    rm -rf "$root" && mkdir -p "$root" "$work"/apt/{lists,archives}/partial
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main" > "$work/apt/sources.list"
    : > "$work/apt/status"
    apt=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root
        -o Dir::Etc::sourcelist="$work/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o Dir::State::lists="$work/apt/lists" -o Dir::State::status="$work/apt/status" -o Dir::Cache="$work/apt")
    "${apt[@]}" update
    (cd "$root" && "${apt[@]}" download libc6 libgcc-s1 libstdc++6 zlib1g libexpat1 libffi8 libssl3 libbz2-1.0 liblzma5 \
        libuuid1 libsqlite3-0 python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libpython3.11-dev
        for package in *.deb; do dpkg-deb -x "$package" . && rm "$package"; done)
    touch "$root/done"
fi
if [ ! -e "$site/done" ]; then
    rm -rf "$site"
    "$python" -m pip install --quiet --disable-pip-version-check --target "$site" --only-binary :all: \
        --platform manylinux_2_28_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 \
        --python-version 3.11 --implementation cp --abi cp311 --abi abi3 --abi none \
        gguf hypothesis numpy pytest pytest-timeout
    touch "$site/done"
fi

# Only changed files, so that a second run compiles only what changed.
for name in oxillama tests setup.py pyproject.toml README.md LICENSE; do
    mkdir -p "$tree"
    find "$name" -type f ! -name '*.so' ! -path '*/__pycache__/*' -exec cp --parents --update --preserve=timestamps {} "$tree" \;
done
cd "$tree"
compiler="${CCACHE:-} aarch64-linux-gnu-gcc"
include="-I$root/usr/include/python3.11 -I$root/usr/include"
# OXILLAMA_MODULES= builds all of them, for tests that open models.
export OXILLAMA_MODULES=${OXILLAMA_MODULES-network.kernels network.team testing.attention_harness testing.kernel_harness}
CC=$compiler LDSHARED="$compiler -shared" CFLAGS=$include _PYTHON_HOST_PLATFORM=linux-aarch64 \
    SETUPTOOLS_EXT_SUFFIX=.cpython-311-aarch64-linux-gnu.so "$python" setup.py --quiet build_ext --inplace

[ $# -gt 0 ] || set -- --noconftest tests/core/test_matmul.py tests/core/test_attention.py
exec qemu-aarch64-static -L "$root" -E PYTHONPATH="$tree:$site" -E PYTHONDONTWRITEBYTECODE=1 \
    "$root/usr/bin/python3.11" -m pytest -p no:cacheprovider --timeout=3000 "$@"
