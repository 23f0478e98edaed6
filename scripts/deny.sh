#!/bin/bash
# Licences, sources and banned crates of the dependencies; known vulnerabilities where the advisory database can be fetched.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
PATH=$PWD/.deps/tools/bin:$PATH
checks=(bans licenses sources)
if output=$(timeout 60 "$cargo" deny fetch db 2>&1); then
    checks+=(advisories)
else
    tail -1 <<<"$output"
    echo "check: the advisory database cannot be fetched; known vulnerabilities were not checked (make audit)"
fi
"$cargo" deny --locked check "${checks[@]}"
