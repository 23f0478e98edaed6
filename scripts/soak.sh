#!/bin/bash
# The full soak (tests/soak): cameras come, change and go while workers are killed, and nothing grows. Prints a table.
#
#   SOAK_CYCLES=1000     how many cameras are removed, added and changed (the default; takes about half an hour)
#   SOAK_MINUTES=240     or how long; with both, whatever is over first
#   SOAK_SEED=1          another seed, other accidents
#   SOAK_MODEL=FILE      the model all cameras share (default: the demo model); empty: motion only
#   SOAK_PROFILE=dev     build without optimisation, as the tests do
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
if [ -z "${SOAK_CYCLES:-}${SOAK_MINUTES:-}" ]; then SOAK_CYCLES=1000; fi
export SOAK_CYCLES=${SOAK_CYCLES:-} SOAK_MINUTES=${SOAK_MINUTES:-} SOAK_SEED=${SOAK_SEED:-1}
export SOAK_MODEL=${SOAK_MODEL-$PWD/pipelines/demo-model/demo.onnx}
read -ra features <<<"$(scripts/gst-features.sh watchpost)"
exec "$cargo" test --profile "${SOAK_PROFILE:-release}" --locked --package watchpost "${features[@]}" --test soak -- --nocapture
