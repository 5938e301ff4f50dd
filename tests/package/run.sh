#!/usr/bin/env bash
# run.sh BUILD SOURCE: installs BUILD into a temporary prefix, builds SOURCE against it, runs it.
set -euo pipefail
build=$1
source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$build" --prefix "$work/prefix" >/dev/null
cmake -S "$source" -B "$work/build" -DCMAKE_PREFIX_PATH="$work/prefix" >/dev/null
cmake --build "$work/build" >/dev/null
answer=$("$work/build/outside")
echo "outside project says $answer bytes per token"
[ "$answer" = 327680 ]
"$work/prefix/bin/vramplan" models >/dev/null
