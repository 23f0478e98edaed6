#!/bin/bash
# Builds the four plugins and gathers just them in target/gst-plugins: pointed at all of target/, GStreamer would try
# to load every library it meets there.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
target=${CARGO_TARGET_DIR:-target}
stems=(shmring regiondetect objecttrack testscene)
crates=("${stems[@]/#/gst-plugin-}")

read -ra features <<<"$(scripts/gst-features.sh "${crates[@]}")"
"$cargo" build --release --locked "${crates[@]/#/--package=}" "${features[@]}"
mkdir -p "$target/gst-plugins"
for stem in "${stems[@]}"; do
    # Renamed into place, so that a program that has the old one mapped is not disturbed.
    cp "$target/release/libgst$stem.so" "$target/gst-plugins/.libgst$stem.so.new"
    mv "$target/gst-plugins/.libgst$stem.so.new" "$target/gst-plugins/libgst$stem.so"
done
echo "plugins are in $target/gst-plugins: export GST_PLUGIN_PATH=$(realpath "$target/gst-plugins")"
