#!/bin/sh
# Finds what building oxillama needs and prints the Python interpreter to use.
# What is missing is named with the Debian package that brings it; the exit code is then 1.
# Needs nothing but a POSIX shell. Usage: tools/check_build_tools.sh [PYTHON]
set -u

packages=""
lacks() { # what, Debian packages
    printf 'missing: %s (Debian: %s)\n' "$1" "$2" >&2
    packages="$packages $2"
}

is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
has_headers() { "$1" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' 2>/dev/null; }
has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# The first interpreter with everything wins; else the first that is recent, so that the message is about that one.
python=""
for candidate in ${1:-python3 python3.11 python3.12 python3.13 python3.14}; do
    is_recent "$candidate" || continue
    python=${python:-$candidate}
    if has_headers "$candidate" && has_venv "$candidate"; then
        python=$candidate
        break
    fi
done

if [ -z "$python" ]; then
    found=$(${1:-python3} --version 2>/dev/null) || found="none"
    lacks "Python 3.11 or newer${1:+ as $1}, found: $found" "python3 python3-dev python3-venv"
else
    version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    has_headers "$python" || lacks "the C headers of $python (Python.h)" "$version-dev"
    has_venv "$python" || lacks "the modules venv and ensurepip of $python" "$version-venv"
fi

command -v make >/dev/null 2>&1 || lacks "make" "make"

cc=${CC:-}
[ -n "$cc" ] || [ -z "$python" ] || cc=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("CC") or "")')
cc=${cc:-cc}
# CC may carry options, so it is split into words on purpose.
# shellcheck disable=SC2086
set -- $cc
if ! command -v "$1" >/dev/null 2>&1; then
    lacks "the C compiler $1" "gcc libc6-dev"
else
    compiles() { printf '#include <%s>\n' "$1" | $cc -fsyntax-only -x c - 2>/dev/null; }
    compiles stdio.h || lacks "the C library's headers (stdio.h)" "libc6-dev"
fi

if [ -n "$packages" ]; then
    printf 'To install what is missing on Debian or Ubuntu: apt-get install%s\n' "$packages" >&2
    exit 1
fi
echo "$python"
