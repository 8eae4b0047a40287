# Shared by .ci/setup and .ci/matrix: interpreters and environments.

# say TEXT...: one line of progress.
say() { printf '== %s\n' "$*"; }

# suits PYTHON: a supported version that can make environments and compile against itself.
suits() {
    "$1" - <<'PY' >/dev/null 2>&1
import ensurepip, os, sys, sysconfig, venv
headers = os.path.join(sysconfig.get_paths()["include"], "Python.h")
raise SystemExit(not ((3, 11) <= sys.version_info[:2] <= (3, 13) and os.path.exists(headers)))
PY
}

# find_python VERSION: prints an interpreter of that version (3.12), or fails.
find_python() {
    local candidate
    for candidate in "python$1" "/usr/bin/python$1" "${HOME:-/root}/.pyenv/versions/$1".*/bin/python \
        "${HOME:-/root}/.local/share/uv/python/cpython-$1".*/bin/python; do
        candidate=$(command -v "$candidate" 2>/dev/null) || continue
        if suits "$candidate" && "$candidate" -c "import sys; raise SystemExit('%d.%d' % sys.version_info[:2] != '$1')"; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    return 1
}

# fill_environment DIRECTORY PYTHON: the locked packages and Veil itself; quick when nothing has changed.
fill_environment() {
    local directory=$1 python=$2 stamp want
    stamp="$directory/.veil-stamp"
    want=$(cat requirements.lock pyproject.toml | sha256sum | cut -d' ' -f1)
    if [ -x "$directory/bin/python" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] &&
        "$directory/bin/python" -c 'import veil' 2>/dev/null; then
        return 0
    fi
    if ! [ -x "$directory/bin/python" ] || ! suits "$directory/bin/python"; then
        say "$directory: $("$python" --version)"
        "$python" -m venv --clear "$directory"
    fi
    say "$directory: installing requirements.lock"
    "$directory/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
    "$directory/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
    printf '%s\n' "$want" >"$stamp"
}

# fill_bench_environment DIRECTORY PYTHON REQUIREMENTS: what Veil is measured against, apart from its own packages.
fill_bench_environment() {
    local directory=$1 python=$2 requirements=$3 stamp want
    stamp="$directory/.veil-stamp"
    want=$(sha256sum "$requirements" | cut -d' ' -f1)
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then
        return 0
    fi
    say "$directory: installing $requirements"
    "$python" -m venv --clear "$directory"
    "$directory/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
    printf '%s\n' "$want" >"$stamp"
}
