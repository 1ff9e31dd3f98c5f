#!/usr/bin/env bash
# The lab's own tests, then a few faults healed on the real lab and what people do with a lab that runs.
# Without root it says what it leaves out and why.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$(id -u)" -ne 0 ]; then
  echo "lab smoke skipped: starting real nodes needs root (namespaces, cgroups, loop devices); run 'sudo make test' for it"
  exit 0
fi
tests=(.venv/bin/python -m pytest -q -p no:cacheprovider tests/lab)
"${tests[@]}" -m "root and not lab" --timeout 600
trap '.venv/bin/python -m lab down' EXIT
KEEP=1 .venv/bin/python -m lab smoke
.venv/bin/python -m lab faults --only agent-silent,haproxy-down
"${tests[@]}" -m lab
