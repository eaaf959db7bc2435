#!/usr/bin/env bash
# Installs what the tests need, then runs ruff, strict mypy and pytest. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else return 1; fi; }
install_packages() {
    as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq --no-install-recommends "$@"
}

if [ -z "${VIRTUAL_ENV:-}" ]; then
    [ -x .venv/bin/python ] || python3 -m venv .venv
    export VIRTUAL_ENV="$PWD/.venv" PATH="$PWD/.venv/bin:$PATH"
fi
# Modules are compiled when they are first imported: most of what torch brings never is.
python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.txt -r tests/requirements.txt

command -v chromium >/dev/null || install_packages chromium fonts-dejavu-core >/dev/null ||
    echo "chromium could not be installed: the browser tests will be skipped"

[ -x /usr/sbin/nginx ] || command -v nginx >/dev/null || install_packages nginx-light openssl >/dev/null ||
    echo "nginx could not be installed: the tests behind a proxy will be skipped"

if [ -z "${SECOND_READ_TEST_POSTGRES:-}" ]; then
    if url=$(bash tests/postgres.sh start); then
        export SECOND_READ_TEST_POSTGRES="$url"
        trap 'bash tests/postgres.sh stop "$url"' EXIT
    else
        echo "PostgreSQL could not be started: the store tests run on SQLite only"
    fi
fi

# Images of containers often set this: each of the many processes that the tests start would compile all modules anew.
unset PYTHONDONTWRITEBYTECODE

ruff format --check .
ruff check .
if [ $# -gt 0 ]; then
    mypy
    python -m pytest "$@"
else
    # Beside the tests, which often wait: mypy by itself would leave the other cores idle for a minute or more.
    types=$(mktemp)
    mypy >"$types" 2>&1 &
    # Four files at a time, because many tests wait for a server, a browser or a worker of theirs.
    failed=0
    OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" python -m pytest -n 4 --dist loadfile --no-loadscope-reorder || failed=$?
    wait $! || failed=1
    cat "$types"
    rm "$types"
    exit $failed
fi
