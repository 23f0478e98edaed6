#!/bin/bash
# Installs by Meson into an empty DESTDIR and asks gst-inspect-1.0 for every element there. Shares cargo's target folder
# and the dev profile with the other tests, so that little is built twice.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

meson setup "$work/build" meson-compat --buildtype=debug --prefix=/usr -Dtarget_dir="$PWD/target" >"$work/setup.log" \
    || { cat "$work/setup.log"; exit 1; }
DESTDIR="$work/root" meson install -C "$work/build"

plugins=$(dirname "$(find "$work/root" -name libgstshmring.so)")
for element in shmringsink shmringsrc motiondetect regiondetect objecttrack watchposttestsrc; do
    # A registry and a path of its own: an installed copy cannot answer for the one under test.
    said=$(GST_REGISTRY="$work/registry" GST_PLUGIN_PATH="$plugins" gst-inspect-1.0 "$element") \
        || { echo "meson-compat: gst-inspect-1.0 does not find $element in $plugins"; exit 1; }
    grep "Filename" <<<"$said" | grep -q "$plugins/" \
        || { echo "meson-compat: $element comes from elsewhere:"; grep Filename <<<"$said"; exit 1; }
done
"$work/root/usr/bin/watchpost" --version
echo "meson-compat: 6 elements installed and found"
