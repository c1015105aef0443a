#!/bin/sh
# Writes the lock of every peer from its requirements.in: universal, with hashes, without addresses.
# Needs uv (`UV=/path/to/uv`, else on PATH); `--upgrade` takes newer versions, otherwise pins stay.
# Of bullmq, package-lock.json is written by npm, and cleaned of addresses.
set -eu
cd "$(dirname "$0")/peers"
for wanted in */requirements.in; do
  peer="${wanted%/*}"
  "${UV:-uv}" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-header --no-annotate "$wanted" --output-file "$peer/requirements.lock" "$@"
done
if command -v npm >/dev/null; then
  cd bullmq
  npm install --package-lock-only --ignore-scripts --no-audit --no-fund --omit-lockfile-registry-resolved
  python3 - <<'PY'
import json, pathlib
lock = pathlib.Path("package-lock.json")
document = json.loads(lock.read_text())
for package in document["packages"].values():
    package.pop("funding", None)
lock.write_text(json.dumps(document, indent=2) + "\n")
PY
fi
