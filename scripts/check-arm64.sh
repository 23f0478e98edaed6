#!/bin/bash
# Type-checks the workspace for aarch64 (Raspberry Pi OS 64-bit) and runs the cores' tests there under qemu-user.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
target=aarch64-unknown-linux-gnu

if ! [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then
    rustup target add "$target" >/dev/null 2>&1 \
        || { echo "check-arm64: this Rust has no standard library for $target: rustup target add $target"; exit 1; }
fi
export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
# Checking links nothing, so this machine's .pc files say enough about GStreamer.
export PKG_CONFIG_ALLOW_CROSS=1

read -ra features <<<"$(scripts/gst-features.sh)"
"$cargo" check --workspace --locked --target "$target" --target-dir target/arm64 "${features[@]}"
# Tests that start processes of their own or send them signals measure qemu there, not us; they run in `make test`.
"$cargo" test --locked --target "$target" --target-dir target/arm64 --lib \
    --package detection --package shmring-core --package regiondetect-core --package objecttrack-core
