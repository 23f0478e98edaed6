#!/bin/bash
# Builds the real libcamera with its virtual cameras and the real libcamerasrc against the installed GStreamer, once, into
# .deps/libcamera: about two minutes on two cores. `. .deps/libcamera/env` makes a shell, or a test, use it.
#   scripts/libcamera.sh             (VERSION=0.7.2: the release, from Debian's source package)
set -euo pipefail
cd "$(dirname "$0")/.."
# Two worktrees may share .deps.
dir=$(mkdir -p .deps/libcamera && cd -P .deps/libcamera && pwd)
version=${VERSION:-0.7.2}
source=$dir/libcamera-$version
export PATH=/usr/bin:/bin:/usr/sbin:/sbin DEBIAN_FRONTEND=noninteractive
say() { printf 'libcamera: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# The cameras and the preloaded library belong to the tests, so they follow the checkout; the build stays.
finish() {
    cp tests/libcamera/virtual.yaml "$dir/usr/share/libcamera/pipeline/virtual/virtual.yaml"
    gcc -shared -fPIC -O2 -Wall -Wextra -o "$dir/libpreload.so" tests/libcamera/preload.c -ldl -lpthread
    cat >"$dir/env" <<ENV
export LD_LIBRARY_PATH=$dir/usr/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
export GST_PLUGIN_PATH=$dir/usr/lib/gstreamer-1.0\${GST_PLUGIN_PATH:+:\$GST_PLUGIN_PATH}
export LD_PRELOAD=$dir/libpreload.so LIBCAMERA_LOG_LEVELS=*:ERROR
ENV
}

if [ -e "$dir/usr/lib/gstreamer-1.0/libgstlibcamera.so" ]; then
    finish
    exit 0
fi

packages=(
    ca-certificates dpkg-dev g++ gcc meson ninja-build pkg-config python3 python3-jinja2 python3-ply python3-yaml
    libevent-dev libgstreamer-plugins-base1.0-dev libgstreamer1.0-dev libssl-dev libudev-dev libyaml-dev libyuv-dev
)
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    [ "$(id -u)" -eq 0 ] || die "needs these packages: ${missing[*]}"
    say "installing ${missing[*]}"
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if [ ! -d "$source" ]; then
    # An index of its own: the system's package lists stay as they are.
    mirror=$(apt-cache policy | grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n 1 | tr -d ' ')
    [ -n "$mirror" ] || die "no Debian mirror is configured in apt; build libcamera $version into $dir/usr by hand"
    index=$dir/index
    mkdir -p "$index/lists/partial" "$index/cache/archives/partial"
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg check-valid-until=no] $mirror sid main" \
        >"$index/sources.list"
    cat >"$index/apt.conf" <<CONF
Dir::State::Lists "$index/lists";
Dir::Cache "$index/cache";
Dir::Etc::SourceList "$index/sources.list";
Dir::Etc::SourceParts "/nonexistent";
CONF
    export APT_CONFIG=$index/apt.conf
    say "fetching the source of $version"
    apt-get update -qq
    (cd "$dir" && apt-get source -qq --download-only libcamera/sid)
    unset APT_CONFIG
    archive=$(find "$dir" -maxdepth 1 -name "libcamera_$version.orig.tar.*" ! -name '*.asc' | head -n 1)
    [ -n "$archive" ] || die "the archive has $(cd "$dir" && ls libcamera_*.orig.tar.* | head -n 1), not $version; set VERSION"
    mkdir -p "$source.part"
    tar xf "$archive" -C "$source.part" --strip-components=1
    mv "$source.part" "$source"
fi

say "building $version; the log is $dir/build.log"
rm -rf "$dir/build"
{
    meson setup "$dir/build" "$source" --prefix="$dir/usr" --libdir=lib --buildtype=release -Dwerror=false \
        -Dpipelines=virtual -Dipas= -Dcam=enabled -Dgstreamer=enabled -Dqcam=disabled -Dlc-compliance=disabled \
        -Dpycamera=disabled -Dtest=false -Ddocumentation=disabled -Dv4l2=disabled -Dtracing=disabled &&
        ninja -C "$dir/build" install
} >"$dir/build.log" 2>&1 || { tail -n 20 "$dir/build.log" >&2; die "building failed"; }
finish
