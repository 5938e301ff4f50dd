#!/usr/bin/env bash
# demo.sh VRAMPLAN MODEL.gguf OUTPUT: plan, answer a question, verify, write the report.
set -euo pipefail
vramplan=$1
model=$2
out=$3
mkdir -p "$out"
step() { printf '\n== %s\n\n' "$*"; }

if [ ! -s "$model" ]; then
  echo "The real model is not here (no network?): the card smollm2-135m with random weights instead."
  model=smollm2-135m
fi

step "1. Measure this machine once (vramplan calibrate)"
machine=$out/this-machine.yaml
"$vramplan" calibrate --out "$machine"

step "2. Plan a 70B model on two H100s: no GPU needed (vramplan plan)"
"$vramplan" plan llama-3-70b --device h100-sxm-80gb --count 2 --weights fp16 --context 32k --batch 1

step "3. Plan $(basename "$model") on this machine"
plan=$out/plan.yaml
"$vramplan" plan "$model" --device "$machine" --context 2k --batch 1 --out "$plan"

if [ "$model" != smollm2-135m ]; then
  step "4. Run that plan: a real answer from a real model (vramplan run)"
  "$vramplan" run "$plan" --backend cpu --chat "What is a GPU, in two sentences?" --max-tokens 80
fi

step "5. Verify: predicted against observed, row by row (vramplan verify)"
"$vramplan" verify "$model" --device "$machine" --context 2k --batch 4 --report "$out/report.html"

printf '\nThe report is %s\n' "$(realpath "$out/report.html")"
