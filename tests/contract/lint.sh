#!/bin/sh
# Lints openapi.yaml, and compares its operations with the server's routes. Needs node_modules (npm ci) and, for the
# routes, the built server: tests/contract/lint.sh [build/ringhold]
set -eu
cd "$(dirname "$0")/../.."
binary=${1:-build/ringhold}

if [ ! -d node_modules ]; then
    echo "tests/contract/lint.sh: node_modules is missing: run npm ci first" >&2
    exit 2
fi
export REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true
node_modules/.bin/redocly lint --config .redocly.yaml openapi.yaml
node tests/contract/routes.mjs "$binary"
