#!/bin/bash
# Builds watchpost for release and measures it; see scripts/bench-orchestrator.py for what and how. Arguments go there.
set -euo pipefail
cd "$(dirname "$0")/.."
read -ra features <<<"$(scripts/gst-features.sh watchpost)"
"${CARGO:-cargo}" build --release --locked --package watchpost "${features[@]}"
exec python3 scripts/bench-orchestrator.py "$@"
