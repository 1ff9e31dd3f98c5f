#!/usr/bin/env bash
# Makes this checkout ready: Debian packages (as root) and the virtual environment from requirements.lock.
# Safe to run again at any time: what is there already is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(python3-venv systemd-container mmdebstrap iproute2 util-linux procps postgresql-client)
missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
  if [ "$(id -u)" -eq 0 ]; then
    echo "installing Debian packages: ${missing[*]}"
    # A source this project does not need may be out of reach; the install below decides whether that matters.
    apt-get update -qq || echo "apt-get update reported a problem; going on with what apt knows" >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  else
    echo "not root: these Debian packages are missing and the lab needs them: ${missing[*]}" >&2
  fi
fi

python=""
for candidate in python3.13 python3.12 python3.11 python3; do
  if "$candidate" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "no Python 3.11 or newer with venv was found: install python3 and python3-venv, then run this again" >&2
  exit 1
fi

stamp=".venv/.lock-$(sha256sum requirements.lock | cut -c1-16)"
if [ ! -e "$stamp" ]; then
  echo "making the virtual environment from requirements.lock"
  "$python" -m venv --clear .venv
  # The lock names exact versions and hashes; settings of this machine's pip must not add to it.
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock \
    2> >(grep -v 'is ignored: it is neither a file nor a directory' >&2)
  touch "$stamp"
fi
