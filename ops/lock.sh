#!/bin/sh
# Writes the lock files from pyproject.toml: universal, with hashes, without addresses.
# Needs uv (`UV=/path/to/uv`, else on PATH); `--upgrade` takes newer versions, otherwise pins stay.
set -eu
cd "$(dirname "$0")/.."
lock() {
  "${UV:-uv}" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-header --no-annotate "$@"
}
lock pyproject.toml --output-file requirements.lock "$@"
lock pyproject.toml --group dev --constraints requirements.lock --output-file requirements-dev.lock "$@"
lock --group ci --output-file requirements-ci.lock "$@" # an environment of its own
