#!/usr/bin/env bash
# Writes deploy/locks/*.txt from requirements.txt: every package, its exact version and its hashes, for Linux on x86-64.
# Needs the tools of deploy/requirements.txt. What is locked stays as it is unless requirements.txt asks for another
# version; `bash deploy/lock.sh --upgrade` takes the newest of what requirements.txt does not pin.
set -euo pipefail
cd "$(dirname "$0")/.."

lock() {
    local name=$1
    shift
    uv pip compile requirements.txt --output-file "deploy/locks/$name.txt" --quiet --generate-hashes \
        --only-binary :all: --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
        --custom-compile-command "bash deploy/lock.sh" "$@"
}

lock cuda "$@"
# On a processor torch imports and runs without these, which take 1 GB. Its other NVIDIA libraries it needs to start.
lock cpu --no-emit-package triton --no-emit-package nvidia-cusolver --no-emit-package nvidia-nvtx \
    --no-emit-package cuda-bindings --no-emit-package cuda-pathfinder --no-emit-package cuda-toolkit "$@"
