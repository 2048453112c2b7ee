#!/usr/bin/env bash
# Starts a hub on a free port and has Schemathesis make up requests from its OpenAPI document: none may be answered with a 5xx, a
# status or a form that the document doesn't declare. Streams are left out, since their answers don't end.
#
# usage: openapi.sh FANFARE SCHEMATHESIS
set -euo pipefail

data=$(mktemp -d)
"$1" serve --listen 127.0.0.1:0 --data "$data/data" >"$data/out" 2>"$data/log" &
hub=$!
end() {
    kill "$hub" 2>/dev/null || true
    wait "$hub" 2>/dev/null || true
    rm -rf "$data"
}
trap end EXIT

url=""
until [[ -n "$url" ]]; do
    kill -0 "$hub" || { cat "$data/log" >&2; exit 1; }
    url=$(sed -n 's/^listening on //p' "$data/out")
    sleep 0.05
done

# In the folder that goes away: it leaves its memory where it is called.
cd "$data"
"$2" run "$url/openapi.json" \
    --exclude-path /events --exclude-path /subscribe \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
    --phases examples,coverage,fuzzing --max-examples 20 --generation-deterministic --warnings off --no-color
