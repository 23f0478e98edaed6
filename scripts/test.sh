#!/bin/bash
# Everything `make test` runs, one part after the other: the workspace's tests, its doc examples, the loom models of the
# ring and the Meson installation. scripts/test.sh PART... runs only those.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
read -ra features <<<"$(scripts/gst-features.sh)"

[ -d ../shared ] || echo "test: ../shared is absent: tests that need its footage, model or vectors say so and are skipped"
# What a test prints about GLib's criticals is a failure, not noise.
export G_DEBUG=fatal-criticals

workspace() {
    if "$cargo" nextest --version >/dev/null 2>&1; then
        "$cargo" nextest run --workspace --locked "${features[@]}"
    else
        "$cargo" test --workspace --locked --lib --bins --tests "${features[@]}"
    fi
    "$cargo" test --workspace --locked --doc "${features[@]}"
}

# The models need every atomic replaced, hence a build of their own; optimised, since they search exhaustively.
loom() {
    RUSTFLAGS="--cfg loom" "$cargo" test --locked --release --package shmring-core --test loom --target-dir target/loom
}

meson() {
    meson-compat/test.sh
}

for part in "${@:-workspace}"; do "$part"; done
if [ $# -eq 0 ]; then loom; meson; fi
