#!/usr/bin/env bash
# One fault healed on the real lab. Without root it says what it leaves out and why.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$(id -u)" -ne 0 ]; then
  echo "lab smoke skipped: starting real nodes needs root (namespaces, cgroups, loop devices); run 'sudo make test' for it"
  exit 0
fi
.venv/bin/python -m pytest -q -p no:cacheprovider tests/lab -m "root and not lab" --timeout 600
.venv/bin/python -m lab smoke
