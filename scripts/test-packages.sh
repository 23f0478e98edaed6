#!/bin/bash
# Installs the packages of target/deb/SUITE in a fresh root of that suite, starts the service's command as its user, upgrades
# from a state like that of 0.1.0, and purges. Needs root (debootstrap, chroot).
#   scripts/test-packages.sh [SUITE]      (default: the running distribution's)
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck disable=SC1091
suite=${1:-$(. /etc/os-release && echo "$VERSION_CODENAME")}
packages=$PWD/target/deb/$suite
root=$PWD/.deps/packages-$suite
[ "$(id -u)" -eq 0 ] || { echo "test-packages: needs root for chroot and mount"; exit 1; }
ls "$packages"/watchpost_*.deb >/dev/null || { echo "test-packages: no packages in $packages; make deb builds them"; exit 1; }

if ! [ -e "$root/.ready" ]; then
    if grep -qF " $root/" /proc/mounts; then
        echo "test-packages: something is mounted below $root; umount it first"
        exit 1
    fi
    rm -rf --one-file-system "$root"
    echo "test-packages: making a root of $suite in $root"
    unshare --mount debootstrap --variant=minbase --include=ca-certificates,curl "$suite" "$root" >.deps/packages.log 2>&1 \
        || { tail .deps/packages.log; exit 1; }
    touch "$root/.ready"
fi
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
find /etc/apt/apt.conf.d -iname '*prox*' -exec cp {} "$root/etc/apt/apt.conf.d/" \;

export root packages here="$PWD"
# Everything is written to an overlay in memory, so that the root stays fresh.
exec unshare --mount bash -euc '
    mount -t tmpfs tmpfs /mnt
    mkdir /mnt/upper /mnt/work /mnt/root
    mount -t overlay overlay -o "lowerdir=$root,upperdir=/mnt/upper,workdir=/mnt/work" /mnt/root
    cd /mnt/root
    mkdir -p packages data-0.1.0
    mount --bind "$packages" packages
    mount --bind "$here/tests/data/v0.1.0" data-0.1.0
    mount --rbind /dev dev
    mount -t proc proc proc
    cp "$here/scripts/test-packages-inside.sh" inside.sh
    exec chroot /mnt/root /usr/bin/env -i HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin bash /inside.sh
'
