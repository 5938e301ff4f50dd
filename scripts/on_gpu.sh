#!/usr/bin/env bash
# on_gpu.sh PROGRAMS OUT [MODEL.gguf] [PART...]: everything that only a GPU can show, in one run (its limits add up to
# 21 minutes; how long it takes has not been seen yet).
# PROGRAMS is a build folder or what gpu_bundle.sh made. Parts, in this order (default: all):
#   tests      kernels against double references, the engine's 64 tokens beside the cpu's (gpu_tests)
#   sanitizer  small cases of the same under compute-sanitizer: memcheck and racecheck
#   calibrate  a device card of this GPU
#   paths      attention by SIMT, mma and wgmma beside each other
#   record     the matrix of plans, kernels and rates: OUT/record.json, to be kept under bench/gpu/records
#   verify     one plan of the real model by that card, driver's memory row by row
#   peers      torch and transformers on the same shapes
# A part that fails or runs out of its time does not keep the next from running. Exit 0 when all passed, 7 without a device.
set -uo pipefail
programs=$(cd "$1" && pwd)
mkdir -p "$2"
out=$(cd "$2" && pwd)
shift 2
model=""
case "${1:-}" in *.gguf) model=$(realpath "$1"); shift ;; esac
parts=${*:-tests sanitizer calibrate paths record verify peers}
if [ -d "$programs/lib" ]; then export LD_LIBRARY_PATH="$programs/lib:${LD_LIBRARY_PATH:-}"; fi
commit=$(cat "$programs/commit" 2>/dev/null || git -C "$(dirname "$0")" rev-parse --short=12 HEAD)
small='Elementwise.*:Norm.*:Embed.*:KvWrite.*:Sample.Greedy*:Linear.RowsThatEnd*:AttentionDecode.Small*:AttentionPrefill.Small*:AttentionPrefillHistory.Small*:AttentionPacked.Small*:AttentionMass.Small*:KvPack.*'

if ! nvidia-smi -L >"$out/device.txt" 2>&1; then
  echo "on_gpu: nvidia-smi finds no GPU on this machine" >&2
  exit 7
fi
nvidia-smi -q -d MEMORY,CLOCK,POWER >"$out/nvidia-smi.txt" 2>&1

failed=0
run() {  # run NAME SECONDS COMMAND...
  local name=$1 limit=$2 begin=$SECONDS status
  shift 2
  timeout "$limit" "$@" >"$out/$name.log" 2>&1
  status=$?
  # Tests that all skip have shown nothing.
  if [ "$status" = 0 ] && grep -q '^\[  PASSED  \] 0 tests' "$out/$name.log"; then status=7; fi
  printf '%-22s exit %3d  %4d s  %s\n' "$name" "$status" "$((SECONDS - begin))" "$(tail -n 1 "$out/$name.log" | cut -c1-90)"
  [ "$status" = 0 ] || failed=1
}
wanted() { case " $parts " in *" $1 "*) ;; *) return 1 ;; esac; }

if wanted tests; then VRAMPLAN_TEST_MODEL=$model run tests 150 "$programs/gpu_tests" --gtest_brief=1; fi
if wanted sanitizer; then
  if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck; do
      run "sanitizer-$tool" 120 compute-sanitizer --tool "$tool" --error-exitcode 9 "$programs/gpu_tests" \
        --gtest_filter="$small" --gtest_brief=1
    done
  else
    echo "sanitizer              skipped: compute-sanitizer is not on the PATH"
  fi
fi
if wanted calibrate; then run calibrate 90 "$programs/vramplan" calibrate --backend cuda --out "$out/this-gpu.yaml"; fi
if wanted paths; then run paths 60 "$programs/gpu_attention_paths"; fi
if wanted record; then
  # Two processes: rows of context and modules are exact only for the part that is first in its process.
  run record-device 60 "$programs/gpu_record" --part device --commit "$commit" --out "$out/record-device.json"
  run record 440 "$programs/gpu_record" --commit "$commit" --seconds 400 ${model:+--model "$model"} --out "$out/record.json"
fi
if wanted verify && [ -n "$model" ] && [ -s "$out/this-gpu.yaml" ]; then
  run verify 60 "$programs/vramplan" verify "$model" --backend cuda --device "$out/this-gpu.yaml" --context 2k --batch 4
fi
if wanted peers; then
  peers=$programs/peers.py
  [ -f "$peers" ] || peers=$(dirname "$0")/../bench/gpu/peers.py
  run peers 150 python3 "$peers" --commit "$commit" --out "$out/peers.json"
fi
exit $failed
