#!/bin/bash
# Builds the Debian packages of the running distribution and architecture into target/deb/SUITE/.
#   scripts/deb.sh            (SUITE is the code name in /etc/os-release)
# For another suite: scripts/test-debian13.sh scripts/deb.sh builds those of Debian 13.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
target=${CARGO_TARGET_DIR:-target}
packaging=orchestrator/packaging
# shellcheck disable=SC1091
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
arch=$(dpkg --print-architecture)
multiarch=$(dpkg-architecture -qDEB_HOST_MULTIARCH)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
revision="$version-1~$suite"
out=$PWD/target/deb/$suite

# Paths of this machine do not belong into what others install.
export RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$PWD=/watchpost --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
read -ra features <<<"$(scripts/gst-features.sh watchpost)"
"$cargo" build --release --locked --package watchpost "${features[@]}"
scripts/build-plugins.sh >/dev/null

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p "$out" "$work/debian"
date=$(date -R -u -d "@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}")

# strip_into SOURCE TARGET MODE: installs a program or library without its debug information.
strip_into() {
    install -D -m "$3" "$1" "$2"
    strip --strip-unneeded --remove-section=.comment --remove-section=.note "$2"
}

documents() {
    local package=$1 folder=$work/$1/usr/share/doc/$1
    mkdir -p "$folder"
    install -m 644 $packaging/debian/copyright "$folder/copyright"
    printf 'watchpost (%s) %s; urgency=medium\n\n  * See /usr/share/doc/watchpost/changelog.gz.\n\n -- %s  %s\n' \
        "$revision" "$suite" "Watchpost developers <maintainers@users.noreply.github.com>" "$date" | gzip -9n >"$folder/changelog.Debian.gz"
    chmod 644 "$folder/changelog.Debian.gz"
}

daemon=$work/watchpost
strip_into "$target/release/watchpost" "$daemon/usr/bin/watchpost" 755
install -D -m 644 $packaging/watchpost.service "$daemon/usr/lib/systemd/system/watchpost.service"
install -D -m 644 $packaging/watchpost.yaml "$daemon/usr/share/watchpost/watchpost.yaml"
mkdir -p "$daemon/usr/share/man/man1" "$daemon/usr/share/bash-completion/completions" \
    "$daemon/usr/share/zsh/vendor-completions" "$daemon/usr/share/fish/vendor_completions.d"
"$target/release/watchpost" generate man | gzip -9n >"$daemon/usr/share/man/man1/watchpost.1.gz"
"$target/release/watchpost" generate bash >"$daemon/usr/share/bash-completion/completions/watchpost"
"$target/release/watchpost" generate zsh >"$daemon/usr/share/zsh/vendor-completions/_watchpost"
"$target/release/watchpost" generate fish >"$daemon/usr/share/fish/vendor_completions.d/watchpost.fish"
documents watchpost
gzip -9n <CHANGELOG.md >"$daemon/usr/share/doc/watchpost/changelog.gz"
gzip -9n <LICENSE-MIT >"$daemon/usr/share/doc/watchpost/LICENSE-MIT.gz"
cp docs/configuration.md docs/api.md docs/tasks.md docs/libcamera.md "$daemon/usr/share/doc/watchpost/"

plugins=$work/gstreamer1.0-watchpost
for plugin in "$target"/gst-plugins/libgst*.so; do
    strip_into "$plugin" "$plugins/usr/lib/$multiarch/gstreamer-1.0/$(basename "$plugin")" 644
done
documents gstreamer1.0-watchpost

cp $packaging/debian/control "$work/debian/control"
packages=(watchpost gstreamer1.0-watchpost)
onnxruntime=$(apt-cache search --names-only '^libonnxruntime[0-9.]+$' | awk '{print $1}' | sort -V | tail -1)
if [ -z "$onnxruntime" ]; then
    onnxruntime=watchpost-onnxruntime
    packages+=(watchpost-onnxruntime)
    cat $packaging/debian/control.onnxruntime >>"$work/debian/control"
    library=$work/watchpost-onnxruntime/usr/lib/$multiarch
    install -D -m 644 .deps/onnxruntime/libonnxruntime.so "$library/libonnxruntime.so.1"
    ln -s libonnxruntime.so.1 "$library/libonnxruntime.so"
    documents watchpost-onnxruntime
    # The library is its publisher's: what it embeds, and its name without a version, are so there too.
    mkdir -p "$work/watchpost-onnxruntime/DEBIAN" "$work/watchpost-onnxruntime/usr/share/lintian/overrides"
    echo "libonnxruntime 1 watchpost-onnxruntime" >"$work/watchpost-onnxruntime/DEBIAN/shlibs"
    for tag in embedded-library link-to-shared-library-in-wrong-package package-name-doesnt-match-sonames; do
        echo "watchpost-onnxruntime: $tag"
    done >"$work/watchpost-onnxruntime/usr/share/lintian/overrides/watchpost-onnxruntime"
    cat .deps/onnxruntime/LICENSE >>"$work/watchpost-onnxruntime/usr/share/doc/watchpost-onnxruntime/copyright"
fi

for package in "${packages[@]}"; do
    root=$work/$package
    mkdir -p "$root/DEBIAN"
    for script in postinst prerm postrm; do
        [ ! -e "$packaging/debian/$package.$script" ] || install -m 755 "$packaging/debian/$package.$script" "$root/DEBIAN/$script"
    done
    mapfile -t binaries < <(find "$root" -type f \( -path '*/bin/*' -o -name '*.so*' \))
    (cd "$work" && dpkg-shlibdeps --ignore-missing-info -Tdebian/substvars -pshlibs "${binaries[@]}" 2>/dev/null)
    depends=$(sed -n 's/^shlibs:Depends=//p' "$work/debian/substvars")
    # The paragraph of this package, with what was found out.
    awk -v RS= -v package="$package" '$0 ~ "^Package: " package "\n"' "$work/debian/control" \
        | sed -e "s/\${shlibs:Depends}/$depends/" -e "s/\${onnxruntime}/$onnxruntime/" -e "s/^Architecture: any/Architecture: $arch/" \
            -e "/^Package: /a Source: watchpost\nVersion: $revision\nMaintainer: Watchpost developers <maintainers@users.noreply.github.com>\nPriority: optional\nHomepage: https://github.com/watchpost/watchpost" \
            -e "/^Description: /i Installed-Size: $(du -sk --apparent-size "$root" | cut -f1)" >"$root/DEBIAN/control"
    grep -q '^Section: ' "$root/DEBIAN/control" || sed -i '/^Package: /a Section: video' "$root/DEBIAN/control"
    (cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
    if [ "$package" = watchpost-onnxruntime ]; then echo 'activate-noawait ldconfig' >"$root/DEBIAN/triggers"; fi
    dpkg-deb --root-owner-group --build "$root" "$out/${package}_${revision}_$arch.deb" >/dev/null
done
(cd "$out" && ls -sh ./*"_${revision}_"*.deb)
