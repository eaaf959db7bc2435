#!/usr/bin/env bash
# A throw-away PostgreSQL for the store tests: `start` prints its URL, `stop URL` ends and removes it.
#
#   url=$(bash tests/postgres.sh start) && SECOND_READ_TEST_POSTGRES=$url pytest tests; bash tests/postgres.sh stop "$url"
#
# Exit status 3: no PostgreSQL to be had here; the reason is on stderr, and the tests then skip that half.
set -euo pipefail

without_postgres() {
    echo "PostgreSQL tests are skipped: $1" >&2
    exit 3
}

# The server refuses to run as root, so root borrows the account that Debian's package made.
as_server() {
    if [ "$(id -u)" -eq 0 ]; then
        # Not every folder of root's may be read by that account.
        (cd / && runuser -u postgres -- "$@")
    else
        "$@"
    fi
}

newest_bin() {
    find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1
}

find_bin() {
    local bin
    bin=$(newest_bin)
    if [ -z "$bin" ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql; } >/dev/null 2>&1 || true
        bin=$(newest_bin)
    fi
    echo "$bin"
}

# In memory where there is room. A database is some 900 files, and ext4 takes up to half a second to create as many
# shortly after others were deleted, because it passes over their inodes.
find_place() {
    local most free
    most=$(df --output=avail --block-size=1M /dev/shm 2>/dev/null | tail -n 1) || most=0
    free=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo 2>/dev/null) || free=0
    if [ "${most:-0}" -ge 3000 ] && [ "${free:-0}" -ge 6000 ] && as_server test -w /dev/shm; then
        echo /dev/shm
    else
        echo /tmp
    fi
}

start() {
    local bin folder
    bin=$(find_bin)
    [ -n "$bin" ] || without_postgres "no server in /usr/lib/postgresql, and it could not be installed"
    if [ "$(id -u)" -eq 0 ] && ! id postgres >/dev/null 2>&1; then
        without_postgres "root may not run it, and there is no account 'postgres'"
    fi
    # A short path: a socket's may have only 107 characters.
    folder=$(as_server mktemp -d "$(find_place)/second-read-pg.XXXXXX")
    # Only a socket in a folder of mode 700, so no port is taken and nobody else gets in. Nothing here is kept: no
    # fsync, and nothing that would only help later.
    if ! {
        as_server "$bin/initdb" -D "$folder/data" -U postgres --auth=trust --encoding=UTF8 --no-sync &&
            as_server "$bin/pg_ctl" -D "$folder/data" -l "$folder/log" -w -t 60 start \
                -o "-k $folder -c listen_addresses= -c max_connections=200 -c fsync=off -c synchronous_commit=off \
                    -c full_page_writes=off -c autovacuum=off -c jit=off -c max_wal_size=1GB -c checkpoint_timeout=1h"
    } >/dev/null 2>"$folder.err"; then
        cat "$folder.err" >&2
        rm -rf "$folder" "$folder.err"
        without_postgres "the server did not start"
    fi
    rm -f "$folder.err"
    echo "postgresql://postgres@/postgres?host=$folder"
}

stop() {
    local folder=${1##*host=}
    case $folder in
    /tmp/second-read-pg.* | /dev/shm/second-read-pg.*) ;;
    *)
        echo "not a server of ours: $1" >&2
        exit 2
        ;;
    esac
    as_server "$(newest_bin)/pg_ctl" -D "$folder/data" -m immediate -w stop >/dev/null
    rm -rf "$folder"
}

case ${1:-} in
start) start ;;
stop) stop "${2:?usage: postgres.sh stop URL}" ;;
*)
    echo "usage: postgres.sh start | stop URL" >&2
    exit 2
    ;;
esac
