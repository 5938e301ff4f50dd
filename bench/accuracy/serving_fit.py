#!/usr/bin/env python3
"""Fits the serve_ numbers of planner/engines/tables to the fit half of serving_cases.csv.

usage: serving_accuracy TRUTH bench/accuracy --terms > terms.csv
       serving_fit.py terms.csv [planner/engines/tables]

Needs numpy, scipy, pandas. The seconds of kernels come from the C++ model (`--terms`); what is fitted here is how an
engine adds to them, per engine. The form is that of planner/serving.cc. Only rows of the fit half are read; errors
are of five-fold cross-validation inside it, folds by question. With a folder the tables are written.
"""
import re
import sys
import zlib

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

KINDS = ["launch", "matrices", "head", "attention", "expert_launch", "experts", "reduce_launch", "reduce", "vectors"]
PROMPT_FACTORS = ["launch", "prompt_matrices", "head", "prompt_attention", "expert_launch", "prompt_experts",
                  "reduce_launch", "prompt_reduce", "prompt_vectors"]
PASSES = ["step", "step2", "step4", "step16", "prompt", "full"]
SHARES = [1, 0.5, 0.25, 0.0625]
ARRIVALS = ["spread", "equal", "steady"]
# Where a number is expected before any data: kernels as timed, with half of the launches inside graphs. The fit
# pays for leaving these (PRIOR), which keeps terms that few rows resolve near what physics says.
START = dict(step_s=1e-3, layer_s=1e-5, sequence_s=1e-5, launch=.5, matrices=1, head=1, attention=1, expert_launch=.5,
             experts=1, reduce_launch=1, reduce=1, vectors=2, interference=.8, prompt_matrices=1, prompt_attention=1,
             prompt_experts=1, prompt_reduce=1, prompt_vectors=2, pass_layer_s=2e-5, pass_expert_layer_s=1e-4,
             pass_latent_layer_s=1e-3, first_steps=1.5, first_s_spread=1e-2, first_s_equal=2e-2,
             first_s_steady=2e-2, queue_spread=.05, queue_equal=.1, queue_steady=.1, wave_spread=.05, wave_equal=.1,
             wave_steady=.02, front_s=1e-4)
# Only rows of TensorRT-LLM 1.0 stream fast enough to meet their front end; elsewhere the number would be the prior's.
UNRESOLVED = {"sglang": ["front_s"], "vllm": ["front_s"]}
GROWTH = 0.5  # of its output a running request has generated, in the mean
PRIOR = 0.1
TTFT_WEIGHT = 0.7


def features(d):
    column = lambda name: d[name].to_numpy(float)
    x = {p: d[[f"{p}_{k}" for k in KINDS]].to_numpy(float) for p in PASSES}
    for name in ("layers", "asked", "concurrency", "kv_tokens", "input", "output", "experts", "latent", "wait"):
        x[name] = column(name)
    x["prompts"] = np.maximum(1, np.floor(column("full_prompts")))
    x["passes"] = np.maximum(1, 1 / column("full_prompts"))
    x["arrival"] = d.arrival.map(ARRIVALS.index).to_numpy()
    return x


def some(x, rows):
    return {k: v[rows] for k, v in x.items()}


def step_seconds(x, factors, sequences):
    """Straight lines between the numbers of sequences the kernels were asked for."""
    at = [np.maximum(1, x["asked"] * s) for s in SHARES]
    seconds = [x[p] @ factors for p in PASSES[:4]]
    out = seconds[3]
    for i in (2, 1, 0):
        t = np.clip((sequences - at[i + 1]) / np.maximum(at[i] - at[i + 1], 1e-9), 0, 1)
        out = np.where(sequences > at[i + 1], seconds[i + 1] + t * (seconds[i] - seconds[i + 1]), out)
    return out


def model(p, x):
    factors = np.array([p[k] for k in KINDS])
    prompt_factors = np.array([p[k] for k in PROMPT_FACTORS])
    by_arrival = lambda name: np.array([p[f"{name}_{a}"] for a in ARRIVALS])[x["arrival"]]
    layer = p["pass_layer_s"] + p["pass_expert_layer_s"] * x["experts"] + p["pass_latent_layer_s"] * x["latent"]
    host = layer * x["layers"]
    prompt = x["prompt"] @ prompt_factors + host * x["passes"]
    share = np.where(x["prompts"] > 1, (x["full"] @ prompt_factors + host) / x["prompts"], prompt)
    running = np.minimum(x["asked"], np.maximum(1, x["kv_tokens"] / (x["input"] + GROWTH * x["output"])))
    others, output, queue = running - 1, x["output"], by_arrival("queue")
    decoding = np.ones_like(prompt)
    tpot = None
    for _ in range(30):
        b = np.maximum(1, running * decoding)
        step = p["step_s"] + p["layer_s"] * x["layers"] + p["sequence_s"] * b + step_seconds(x, factors, b)
        if tpot is None:
            tpot = step + 0.3 * p["interference"] * others / output * share
        decode = output * tpot
        half = decode - prompt - queue * share * others
        response = (-half + np.sqrt(half * half + 4 * prompt * decode)) / 2
        cycle = response + decode
        tpot = 0.5 * tpot + 0.5 * (step + p["interference"] * share * tpot * others / cycle)
        decoding = 0.5 * decoding + 0.5 * decode / cycle
    waiting = (x["concurrency"] - running) / running
    ttft = (by_arrival("first_s") + response + by_arrival("wave") * others * share
            + (p["first_steps"] + x["wait"]) * tpot + waiting * (response + output * tpot))
    alike = x["arrival"] != ARRIVALS.index("spread")
    streamed = np.where(alike, p.get("front_s", 0) * x["concurrency"] * output, 0)
    return tpot, ttft + np.maximum(0, streamed - ttft - output * tpot)


def relative(ratio):
    """The error that is reported, predicted / observed - 1; logarithmic where a prediction is above twice, so that rows
    that cannot be right do not pull the rest."""
    return np.where(ratio > 2, 1 + np.log(np.maximum(ratio, 2) / 2), ratio - 1)


def fit(x, tpot, ttft, left_out=()):
    names = [n for n in START if n not in left_out]
    start = np.log([START[n] for n in names])
    soft = lambda r: np.sign(r) * np.sqrt(2 * (np.sqrt(1 + (r / .1) ** 2) - 1)) * .1

    def residuals(logs):
        a, b = model(dict(zip(names, np.exp(logs))), x)
        return np.concatenate([soft(relative(a / tpot)), np.sqrt(TTFT_WEIGHT) * soft(relative(b / ttft)),
                               PRIOR * .1 * np.sqrt(len(tpot)) * (logs - start)])

    result = least_squares(residuals, start, max_nfev=60, bounds=(start - 6, start + 6))
    p = dict(zip(names, np.exp(result.x)))
    return p


def cross_validate(d, x, left_out):
    fold = d.question.map(lambda q: zlib.crc32(q.encode()) % 5).to_numpy()
    tpot, ttft = d.tpot.to_numpy(), d.ttft.to_numpy()
    a, b = np.zeros(len(d)), np.zeros(len(d))
    for i in range(5):
        p = fit(some(x, fold != i), tpot[fold != i], ttft[fold != i], left_out)
        a[fold == i], b[fold == i] = model(p, some(x, fold == i))
    return np.abs(a / tpot - 1), np.abs(b / ttft - 1)


def write(path, numbers, source):
    text = open(path).read()
    text = re.sub(r"      serve_\w+: \{.*\}\n", "", text)
    lines = "".join(f'      serve_{k}: {{value: {float(f"{v:.4g}"):.10g}, source: "{source}"}}\n'
                    for k, v in numbers.items())
    lines = re.sub(r"value: (\d+(\.\d+)?)e-0?(\d+)", lambda m: f"value: {float(m[0][7:]):.12f}".rstrip("0"), lines)
    position = text.index("    flags:\n")
    open(path, "w").write(text[:position] + lines + text[position:])


def main():
    data = pd.read_csv(sys.argv[1])
    data = data[data.half == "fit"].reset_index(drop=True)
    every = [[], []]
    for engine in sorted(data.engine.unique()):
        d = data[data.engine == engine].reset_index(drop=True)
        x = features(d)
        left_out = UNRESOLVED.get(engine, [])
        errors = cross_validate(d, x, left_out)
        p = fit(x, d.tpot.to_numpy(), d.ttft.to_numpy(), left_out)
        p["tpot_error"], p["ttft_error"] = (float(e.mean()) for e in errors)
        for kept, e in zip(every, errors):
            kept.extend(e)
        print(f"{engine}: {len(d)} rows, cross-validated TPOT {errors[0].mean():.3f} median {np.median(errors[0]):.3f}, "
              f"TTFT {errors[1].mean():.3f} median {np.median(errors[1]):.3f}")
        print("  " + ", ".join(f"{k} {v:.3g}" for k, v in p.items()))
        if len(sys.argv) > 2:
            p.update({n: 0.0 for n in left_out})
            write(f"{sys.argv[2]}/{engine}.yaml", p, "bench/accuracy/serving_fit.py, fit half of serving_cases")
    print(f"all: TPOT {np.mean(every[0]):.3f} median {np.median(every[0]):.3f}, "
          f"TTFT {np.mean(every[1]):.3f} median {np.median(every[1]):.3f}")


if __name__ == "__main__":
    main()
