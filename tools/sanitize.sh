#!/usr/bin/env bash
# Builds the compiled code with sanitizers in a copy of the tree and runs tests there; the checkout is left as it is.
# Usage: tools/sanitize.sh PYTHON [pytest arguments; default: tests/core]
# SANITIZE=thread chooses another sanitizer than address,undefined.
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -ge 1 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
python=$(realpath --no-symlinks "$1")
shift
sanitize=${SANITIZE:-address,undefined}
copy=build/sanitize-${sanitize//,/-}

mkdir -p "$copy"
# Only changed files, so that a second run compiles only what changed.
for name in oxillama tests tools setup.py pyproject.toml README.md LICENSE; do
    find "$name" -type f ! -name '*.so' ! -path '*/__pycache__/*' -exec cp --parents --update --preserve=timestamps {} "$copy" \;
done
fixtures=${OXILLAMA_FIXTURES:-$(realpath -m ../shared/fixtures)}
cd "$copy"

OXILLAMA_SANITIZE=$sanitize "$python" setup.py --quiet build_ext --inplace

# CPython keeps memory at exit on purpose, so leaks are not looked for. The runtime has to be loaded before Python.
preload=$(for library in ${sanitize//,/ }; do
    case $library in address) gcc -print-file-name=libasan.so ;; undefined) gcc -print-file-name=libubsan.so ;;
        thread) gcc -print-file-name=libtsan.so ;; esac
done | tr '\n' ' ')
export LD_PRELOAD=$preload OXILLAMA_FIXTURES=$fixtures PYTHONMALLOC=malloc
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
[ $# -gt 0 ] || set -- tests/core
exec "$python" -m pytest -p no:cacheprovider "$@"
