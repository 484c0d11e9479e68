# Sourced by scripts/demo and scripts/test: a virtual environment in .venv with what the named files require.
# PYTHON chooses the interpreter (3.11 or newer); an environment of another version is made anew.

set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "error: $PYTHON is $("$PYTHON" -V 2>&1 || echo missing); expected Python 3.11 or newer (set PYTHON=...)" >&2
  exit 2
}
version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

set_up() {
  wanted="$version $(cat requirements.lock "$@" | sha256sum 2>/dev/null || cat requirements.lock "$@" | shasum -a 256)"
  stamp=".venv/likeness-$(basename "$1" .txt)"
  if [ -x .venv/bin/python ] && [ "$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" != "$version" ]; then
    rm -rf .venv
  fi
  if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
    [ -x .venv/bin/python ] || { echo "making .venv with Python $version"; "$PYTHON" -m venv .venv; }
    echo "installing $1 (about a minute)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$1" -c requirements.lock
    printf '%s' "$wanted" > "$stamp"
  fi
}
