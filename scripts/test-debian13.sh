#!/bin/bash
# The tests of `make test` in a Debian 13 root (GStreamer 1.26, ONNX Runtime 1.21), so that everything behind v1_24 is
# compiled and run. The root stays in .deps/debian13. Needs root (chroot, mount); uses this machine's Rust and crates.
#   scripts/test-debian13.sh [COMMAND...]     (default: scripts/test.sh workspace)
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- scripts/test.sh workspace
[ "$(id -u)" -eq 0 ] || { echo "test-1.26: needs root for chroot and mount"; exit 1; }
export root=$PWD/.deps/debian13

begin=$SECONDS
if [ -e "$root/.ready" ]; then
    echo "test-1.26: the root $root was there already"
else
    # debootstrap mounts /proc in there and leaves it when it is interrupted; removing files would go through it.
    if grep -qF " $root/" /proc/mounts; then
        echo "test-1.26: something is mounted below $root; umount it first"
        exit 1
    fi
    rm -rf --one-file-system "$root"
    mkdir -p .deps
    echo "test-1.26: making a Debian 13 root in $root"
    # In a namespace of its own, with which its mounts vanish.
    unshare --mount debootstrap --variant=minbase --include=ca-certificates trixie "$root" >.deps/debootstrap.log 2>&1 \
        || { tail .deps/debootstrap.log; exit 1; }
    touch "$root/.ready"
    echo "test-1.26: the root was made in $((SECONDS - begin)) s, without the packages for building"
fi
# How this machine reaches packages holds for the root too.
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
find /etc/apt/apt.conf.d -iname '*prox*' -exec cp {} "$root/etc/apt/apt.conf.d/" \;

rust=$(rustc --print sysroot) shared=$(realpath -m ../shared)
nextest=$(command -v cargo-nextest || true)
export nextest rust shared workspace="$PWD" cargo_home="${CARGO_HOME:-$HOME/.cargo}"
# Mounts live in a namespace of their own and vanish with it, however this ends.
exec unshare --mount bash -euc '
    bind() { mkdir -p "$root/$2"; mount --rbind "$1" "$root/$2"; }
    bind "$workspace" src/watchpost
    bind "$rust" opt/rust
    if [ -n "$nextest" ]; then touch "$root/usr/local/bin/cargo-nextest"; mount --bind "$nextest" "$root/usr/local/bin/cargo-nextest"; fi
    bind "$cargo_home" opt/cargo
    if [ -d "$shared" ]; then bind "$shared" src/shared; fi
    bind /dev dev
    bind /sys sys
    mount -t proc proc "$root/proc"
    mount -t tmpfs tmpfs "$root/tmp"
    exec chroot "$root" /usr/bin/env -i HOME=/root TERM="${TERM:-dumb}" CI="${CI:-}" \
        PATH=/opt/rust/bin:/opt/cargo/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        CARGO_HOME=/opt/cargo CARGO_TARGET_DIR=/src/watchpost/target/debian13 \
        bash -euc '\''cd /src/watchpost; SECONDS=0; scripts/setup.sh build test
            echo "test-1.26: the root has its packages after $SECONDS s"; exec "$@"'\'' watchpost "$@"
' test-debian13 "$@"
