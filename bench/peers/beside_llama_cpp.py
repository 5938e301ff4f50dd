#!/usr/bin/env python3
"""Prefill and decode tokens/s of vramplan's CPU executor beside llama-cpp-python, on the same GGUF and
threads, alternating in one run so that both meet the same machine.

    pip install llama-cpp-python
    bench/peers/beside_llama_cpp.py build/vramplan MODEL.gguf [--threads 2] [--context 640] [--output 128] [--rounds 3]

Prints one JSON object: medians, ratios (ours / theirs), our decode's share of the memory bandwidth read in the
same run, and the versions.
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time


def ours(arguments, plan):
    run = subprocess.run([arguments.vramplan, "run", plan, "--backend", "cpu", "--json"],
                         check=True, capture_output=True, text=True)
    report = json.loads(run.stdout)
    seen = report["performance"]["observed"]
    rate = 1.0 / seen["tpot_seconds"]
    # A step reads every matrix (the tied embedding is the head) and the cache as long as it is by then.
    weights, cache = (sum(row["observed_bytes"] for row in report["rows"] if row["category"] == category)
                      for category in ("weights", "kv_cache"))
    tokens = seen["prefill_tokens"] + seen["decode_steps"] + 1
    step = weights + cache * (seen["prefill_tokens"] + tokens) / 2 / tokens
    return seen["prefill_tokens_per_second"], rate, step * rate / seen["memory_bytes_per_second"]


def theirs(model, prompt, output):
    import numpy
    model.reset()
    begin = time.perf_counter()
    model.eval(prompt)
    prefill = len(prompt) / (time.perf_counter() - begin)
    steps = []
    token = int(numpy.argmax(model._scores[-1]))
    for _ in range(output - 1):
        begin = time.perf_counter()
        model.eval([token])
        steps.append(time.perf_counter() - begin)
        token = int(numpy.argmax(model._scores[-1]))
    return prefill, 1.0 / statistics.median(steps)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("vramplan")
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--context", type=int, default=640)
    parser.add_argument("--output", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()

    import llama_cpp
    peer = llama_cpp.Llama(arguments.model, n_ctx=arguments.context, n_batch=512, n_ubatch=512,
                           n_threads=arguments.threads, n_threads_batch=arguments.threads, verbose=False)
    prompt = [(7 * i) % 40000 + 100 for i in range(arguments.context - arguments.output)]
    peer.eval(prompt[:64])  # warm up, outside the clock

    with tempfile.NamedTemporaryFile(suffix=".yaml") as plan:
        subprocess.run([arguments.vramplan, "plan", arguments.model, "--device", "cpu-generic", "--context",
                        str(arguments.context), "--output-tokens", str(arguments.output), "--batch", "1",
                        "--threads", str(arguments.threads), "--out", plan.name],
                       check=True, stdout=subprocess.DEVNULL)
        rows = []
        for _ in range(arguments.rounds):
            rows.append((*ours(arguments, plan.name), *theirs(peer, prompt, arguments.output)))
    prefill, decode, share, peer_prefill, peer_decode = (statistics.median(c) for c in zip(*rows))
    json.dump({
        "model": arguments.model.split("/")[-1], "threads": arguments.threads, "rounds": arguments.rounds,
        "context_tokens": arguments.context, "output_tokens": arguments.output,
        "peer": "llama-cpp-python " + llama_cpp.__version__,
        "prefill_tokens_per_second": {"vramplan": prefill, "peer": peer_prefill, "ratio": prefill / peer_prefill},
        "decode_tokens_per_second": {"vramplan": decode, "peer": peer_decode, "ratio": decode / peer_decode},
        "decode_share_of_memory_bandwidth": share,
        "ratios_per_round": [{"prefill": r[0] / r[3], "decode": r[1] / r[4]} for r in rows],
    }, sys.stdout, indent=2)
    print()


main()
