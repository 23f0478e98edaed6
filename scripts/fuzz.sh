#!/bin/bash
# Fuzzes each parser of untrusted input for SECONDS_EACH seconds (default 60). The same entry points run under proptest
# in `make test`; this needs a nightly toolchain and cargo-fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "fuzz: needs a nightly toolchain: rustup toolchain install nightly"
    exit 1
fi
if ! cargo +nightly fuzz --version >/dev/null 2>&1; then
    echo "fuzz: needs cargo-fuzz: cargo install cargo-fuzz"
    exit 1
fi
for folder in plugins/*/core/fuzz; do
    for target in $(cargo +nightly fuzz list --fuzz-dir "$folder"); do
        echo "== $folder: $target"
        cargo +nightly fuzz run --fuzz-dir "$folder" "$target" -- -max_total_time="${SECONDS_EACH:-60}" -max_len=65536
    done
done
