#!/bin/bash
# Installs what building, running or testing Watchpost needs, and is quick when nothing is missing.
#   scripts/setup.sh [build] [test] [meson] [arm64] [debian13] [deny] [deb]
# `build` is what `make run` needs; the others add to it. Nothing is installed outside apt and .deps/.
set -euo pipefail
cd "$(dirname "$0")/.."

RUST_FLOOR=1.92
# gstreamer1.0-x has textoverlay, which writes the notices on a live picture, and that needs a font.
BUILD_PACKAGES=(
    gcc libc6-dev make pkg-config unzip python3 python3-pip
    libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev
    gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
    gstreamer1.0-plugins-ugly gstreamer1.0-libav gstreamer1.0-x fonts-dejavu-core
)
# The RTSP server and the MQTT broker serve the end-to-end tests; Python's bindings and the rest run the example programs.
TEST_PACKAGES=(
    libgstrtspserver-1.0-dev gir1.2-gst-rtsp-server-1.0 gir1.2-gst-plugins-base-1.0
    python3-gi python3-gst-1.0 python3-numpy python3-scipy gstreamer1.0-rtsp procps ffmpeg
    mosquitto mosquitto-clients openssl
)
MESON_PACKAGES=(meson ninja-build)
ARM64_PACKAGES=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)
DEBIAN13_PACKAGES=(debootstrap)
DEB_PACKAGES=(dpkg-dev lintian)

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

install_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "needs these packages and neither root nor sudo is there: ${missing[*]}"
        as_root=(sudo)
    fi
    say "installing ${missing[*]}"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

require_rust() {
    local have
    have=$(rustc --version 2>/dev/null | awk '{print $2}') || true
    if [ -z "$have" ] || [ "$(printf '%s\n' "$RUST_FLOOR" "$have" | sort -V | head -1)" != "$RUST_FLOOR" ]; then
        die "Rust ${RUST_FLOOR} or later is needed (found: ${have:-none}); install it with rustup (https://rustup.rs), then run this again"
    fi
}

# The system's library where there is one or the distribution has one, else the shared library of the official wheel.
install_onnxruntime() {
    local folder=.deps/onnxruntime version=1.31.1 sha256 platform
    [ -e "$folder/libonnxruntime.so" ] && return
    ldconfig -p | grep -q 'libonnxruntime\.so' && return

    local package
    package=$(apt-cache search --names-only '^libonnxruntime[0-9.]+$' 2>/dev/null | awk '{print $1}' | sort -V | tail -1)
    if [ -n "$package" ]; then
        install_packages "$package"
        return
    fi

    case "$(uname -m)" in
    x86_64) platform=manylinux_2_28_x86_64 sha256=5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f ;;
    aarch64) platform=manylinux_2_28_aarch64 sha256=da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3 ;;
    *) die "no ONNX Runtime is known for $(uname -m); install libonnxruntime yourself and set ORT_DYLIB_PATH" ;;
    esac
    say "fetching ONNX Runtime $version for $(uname -m) from PyPI"
    local work
    work=$(mktemp -d)
    printf 'onnxruntime==%s --hash=sha256:%s\n' "$version" "$sha256" >"$work/requirements.txt"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
        --platform "$platform" --python-version 3.11 --dest "$work" -r "$work/requirements.txt" \
        || die "ONNX Runtime could not be fetched; set ORT_DYLIB_PATH to a libonnxruntime.so of 1.17 or later instead"
    unzip -jqo "$work"/onnxruntime-*.whl 'onnxruntime/capi/libonnxruntime.so.*' 'onnxruntime/LICENSE' -d "$work"
    mkdir -p "$folder"
    mv "$work"/LICENSE "$folder/LICENSE"
    # The last step, in one piece: an interrupted set-up leaves nothing that looks finished.
    mv "$work"/libonnxruntime.so.* "$folder/libonnxruntime.so"
    rm -rf "$work"
}

# A debug build: it takes a third of the time of a release build, and the tool runs for seconds.
install_cargo_deny() {
    local version=0.20.2
    [ -x .deps/tools/bin/cargo-deny ] && return
    cargo deny --version >/dev/null 2>&1 && return
    say "building cargo-deny $version (about a minute)"
    local work status=0
    work=$(mktemp -d)
    CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=$work \
        cargo install --quiet --debug --locked --root .deps/tools "cargo-deny@$version" || status=$?
    rm -rf "$work"
    [ "$status" -eq 0 ] || die "cargo-deny could not be built; install it yourself with: cargo install --locked cargo-deny"
}

require_rust
for part in "${@:-build}"; do
    case "$part" in
    build)
        install_packages "${BUILD_PACKAGES[@]}"
        # Analytics metadata came with 1.24, and its headers are in a package that pulls in much else.
        if pkg-config --atleast-version=1.24 gstreamer-1.0; then install_packages libgstreamer-plugins-bad1.0-dev; fi
        install_onnxruntime
        ;;
    test) install_packages "${TEST_PACKAGES[@]}" ;;
    meson) install_packages "${MESON_PACKAGES[@]}" ;;
    arm64) install_packages "${ARM64_PACKAGES[@]}" ;;
    debian13) install_packages "${DEBIAN13_PACKAGES[@]}" ;;
    deny) install_cargo_deny ;;
    deb) install_packages "${DEB_PACKAGES[@]}" ;;
    *) die "unknown part '$part'; known: build test meson arm64 debian13 deny deb" ;;
    esac
done
