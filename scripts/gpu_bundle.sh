#!/usr/bin/env bash
# gpu_bundle.sh BUILD FOLDER: what a machine with a GPU needs where nothing can be installed: the programs, stripped, the
# libraries they open beside the C library, and on_gpu.sh. About 45 MB when packed.
set -euo pipefail
build=$1
folder=$2
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$folder/lib"
for program in vramplan gpu_tests gpu_record gpu_attention_paths; do
  if [ ! -x "$build/$program" ]; then
    echo "$build has no $program: build it with -DVRAMPLAN_CUDA=ON, tests and benchmarks on" >&2
    exit 2
  fi
  strip -o "$folder/$program" "$build/$program"
  # The C library is that of the machine; a newer libstdc++ than its own must come along.
  ldd "$build/$program" | awk '$3 ~ /^\// && $1 !~ /^(libc|libm|libdl|librt|libpthread)\.so/ {print $3}' |
    xargs -r cp -Lu -t "$folder/lib"
done
cp "$here/on_gpu.sh" "$folder/"
cp "$here/../bench/gpu/peers.py" "$folder/"
git -C "$here" rev-parse --short=12 HEAD >"$folder/commit"
tar -C "$folder" -czf "$folder.tar.gz" .
du -h "$folder.tar.gz"
