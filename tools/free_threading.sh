#!/usr/bin/env bash
# Builds the compiled code for an interpreter without a GIL, in a copy of the tree, and lets threads share everything there.
# Usage: tools/free_threading.sh PYTHON [pytest arguments]
# OXILLAMA_STRESS_SECONDS (10) is how long each test goes on; with SANITIZE=thread the code looks for races, and PYTHON has to
# be built --with-thread-sanitizer itself (its locks are what keeps threads apart).
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -ge 1 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
python=$(command -v "$1") || { echo "missing: $1, a Python that was configured with --disable-gil" >&2; exit 1; }
shift
"$python" -c 'import sysconfig, sys; sys.exit(not sysconfig.get_config_var("Py_GIL_DISABLED"))' ||
    { echo "$python has a GIL; name one that was configured with --disable-gil" >&2; exit 1; }

copy=build/free-threading${SANITIZE:+-$SANITIZE}
mkdir -p "$copy"
# Only changed files, so that a second run compiles only what changed.
for name in oxillama tests examples tools setup.py pyproject.toml README.md LICENSE; do
    find "$name" -type f ! -name '*.so' ! -path '*/__pycache__/*' -exec cp --parents --update --preserve=timestamps {} "$copy" \;
done
cd "$copy"

export TSAN_OPTIONS="suppressions=$PWD/tests/free_threading_suppressions.txt halt_on_error=0 exitcode=66 history_size=4"
quiet="report_bugs=0 exitcode=0"
if [ ! -e venv/done ]; then
    TSAN_OPTIONS=$quiet "$python" -m venv --clear venv
    # Not what has no wheels for such an interpreter yet: the tests here do without tokenizers.
    TSAN_OPTIONS=$quiet venv/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: \
        'cython>=3.1' 'setuptools>=77' anyio click hypothesis jinja2 numpy pytest pytest-timeout sentencepiece tqdm
    touch venv/done
fi
TSAN_OPTIONS=$quiet OXILLAMA_SANITIZE=${SANITIZE:-} venv/bin/python setup.py --quiet build_ext --inplace

export OXILLAMA_STRESS_SECONDS=${OXILLAMA_STRESS_SECONDS:-10}
[ $# -gt 0 ] || set -- tests/test_shared_between_threads.py tests/core/test_ring.py tests/core/test_handle.py tests/core/test_worker.py
exec venv/bin/python -m pytest -p no:cacheprovider --timeout=1200 -o addopts= -q "$@"
