#!/bin/bash
# Everything `make test` runs, one part after the other: the workspace's tests, its doc examples, the loom models of the
# ring and the Meson installation. scripts/test.sh PART... runs only those.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
read -ra features <<<"$(scripts/gst-features.sh)"

[ -d ../shared ] || echo "test: ../shared is absent: tests that need its footage, model or vectors say so and are skipped"
[ -e .deps/libcamera/env ] || echo "test: .deps/libcamera is absent: no test runs on the real libcamera (make test-libcamera builds it)"
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

# Two halves of the workspace's tests, for machines with less time: `half0` are the plugins and what they are made of,
# `half1` is everything else. A new crate is in one of them by itself.
half() {
    local packages
    packages=$("$cargo" metadata --locked --no-deps --format-version 1 | python3 -c '
import json, sys
for package in json.load(sys.stdin)["packages"]:
    if ("/plugins/" in package["manifest_path"]) == (sys.argv[1] == "0"):
        print("--package=" + package["name"])' "$1")
    local arguments features
    mapfile -t arguments <<<"$packages"
    read -ra features <<<"$(scripts/gst-features.sh $(sed -n 's/^--package=\(gst-plugin-.*\|detection-meta\|watchpost\)$/\1/p' <<<"$packages" | grep -v libcamera))"
    echo "test: half $1: ${arguments[*]#--package=}"
    if "$cargo" nextest --version >/dev/null 2>&1; then
        "$cargo" nextest run "${arguments[@]}" --locked "${features[@]}"
    else
        "$cargo" test "${arguments[@]}" --locked --lib --bins --tests "${features[@]}"
    fi
}
half0() { half 0; }
half1() { half 1; }

# The models need every atomic replaced, hence a build of their own; optimised, since they search exhaustively.
loom() {
    RUSTFLAGS="--cfg loom" "$cargo" test --locked --release --package shmring-core --test loom --target-dir target/loom
}

meson() {
    meson-compat/test.sh
}

for part in "${@:-workspace}"; do "$part"; done
if [ $# -eq 0 ]; then loom; meson; fi
