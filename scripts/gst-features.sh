#!/bin/bash
# Prints the cargo arguments for the GStreamer that is installed: the one place that turns its version into features.
#   scripts/gst-features.sh [CRATE...]     (default: every crate that has such features)
set -euo pipefail
LEVELS=(1.24) # each level that our crates have a feature `vX_Y` for
[ $# -gt 0 ] || set -- detection-meta gst-plugin-{shmring,regiondetect,objecttrack,testscene} watchpost

version=$(pkg-config --modversion gstreamer-1.0)
features=()
for level in "${LEVELS[@]}"; do
    if [ "$(printf '%s\n' "$level" "$version" | sort -V | head -1)" = "$level" ]; then
        for crate in "$@"; do features+=("$crate/v${level/./_}"); done
    fi
done
[ ${#features[@]} -eq 0 ] || (IFS=,; printf -- '--features %s\n' "${features[*]}")
