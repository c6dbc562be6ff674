#!/bin/sh
# Compiles the arm64 kernels, which the machines at hand cannot run, with the flags of setup.py. Says nothing of results.
# CROSS_CC chooses the compiler, for example CROSS_CC="clang --target=aarch64-linux-gnu".
set -eu
cd "$(dirname "$0")/.."

cc=${CROSS_CC:-aarch64-linux-gnu-gcc}
if ! command -v "${cc%% *}" >/dev/null 2>&1; then
    echo "missing: ${cc%% *} (Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross)" >&2
    exit 1
fi
for source in oxillama/_core/csrc/levels/*.c; do
    echo "$cc $source"
    # shellcheck disable=SC2086
    $cc -std=c11 -O2 -fPIC -fopenmp-simd -ffp-contract=off -fvisibility=hidden -D_GNU_SOURCE -Wall -Wextra -Werror \
        -Ioxillama/_core/csrc -c "$source" -o /dev/null
done
