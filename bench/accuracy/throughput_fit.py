#!/usr/bin/env python3
"""Fits planner/engines/tables/rates.yaml to the fit half of throughput_cases.csv.

usage: throughput_accuracy TRUTH bench/accuracy --terms > rates.csv
       throughput_fit.py rates.csv [planner/engines/tables]

Needs numpy, scipy, pandas. Two fits, each of a few numbers that stand for a mechanism (planner/published_rates.h):
  served, one request at a time: seconds = request + (1 / memory - 1) memory_s + step step_s + unpack unpack_s
    + experts experts_s, with memory by device, step by release, experts by release and format, unpack one for all;
  llama.cpp: the formulas of planner/llamacpp_times.h.
The terms come from the C++ model. Only rows of the fit half are read. Errors are of five-fold cross-validation inside
it, by row; the last two numbers of llama.cpp are those of the held-out half, which nothing else here sees.
"""
import sys
import zlib

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

PRIOR = 0.05  # of a logarithm, against leaving where a number is expected
SOFT = 0.1
LLAMACPP = dict(memory=.9, prompt_memory=.9, compute=.7, layer_s=6e-5, quantised_ops=3., plain_ops=12., unpack_ops=6., overlap_plain=.9, overlap_quantised=.5)
MOST = dict(memory=1., prompt_memory=1., compute=1., overlap_plain=1., overlap_quantised=1.)


def soft(r):
    return np.sign(r) * np.sqrt(2 * (np.sqrt(1 + (r / SOFT) ** 2) - 1)) * SOFT


def solve(names, start, seconds_of, d):
    """`seconds_of(numbers, rows)`; the error of a rate is observed / predicted seconds - 1, here a logarithm."""
    first = np.log([start[n] for n in names])
    high = np.log([MOST.get(n, 1e3 * start[n]) for n in names])
    observed = (d.tokens / d.observed).to_numpy()

    def residuals(logs):
        ratio = seconds_of(dict(zip(names, np.exp(logs))), d) / observed
        return np.concatenate([soft(np.log(ratio)), PRIOR * SOFT * np.sqrt(len(d)) * (logs - first)])

    fit = least_squares(residuals, np.minimum(first, high - 1e-6), bounds=(first - 7, high))
    return dict(zip(names, np.exp(fit.x)))


def errors(numbers, seconds_of, d):
    return np.abs((d.tokens / seconds_of(numbers, d) / d.observed - 1).to_numpy())


def cross_validate(names, start, seconds_of, d):
    fold = d.id.map(lambda i: zlib.crc32(i.encode()) % 5).to_numpy()
    out = np.zeros(len(d))
    for i in range(5):
        if (fold == i).any():
            numbers = solve(names, start, seconds_of, d[fold != i])
            out[fold == i] = errors(numbers, seconds_of, d[fold == i])
    return out


def served_seconds(p, d):
    memory = d.device.map(lambda x: p["memory " + x])
    step = (d.engine + " " + d.release).map(lambda x: p["step " + x])
    unfused = d.experts * (d.format == "int4")
    key = (d.engine + " " + d.release + " " + d.format).map(lambda x: p.get("experts " + x, 0))
    return (d.request_s + (1 / memory - 1) * d.memory_s + 1e3 * step * d.step_s + p["unpack"] * d.unpack_s
            + unfused * key * 1e3 * d.experts_s)


def served_names(d):
    start = {"memory " + x: .8 for x in d.device.unique()}
    start.update({"step " + x: 1e-3 for x in (d.engine + " " + d.release).unique()})
    unfused = d[(d.experts == 1) & (d.format == "int4")]
    start.update({"experts " + x: 3e-4 for x in (unfused.engine + " " + unfused.release + " int4").unique()})
    start["unpack"] = 1.
    return start


def llamacpp_seconds(p, d):
    lanes = p["quantised_ops"] * d.step_quantised + p["plain_ops"] * d.step_plain
    step = np.hypot(d.step_bytes / p["memory"], lanes) + d.layers * p["layer_s"]
    prompt = (d.flops / p["compute"]
              + (d.weights + d.unpacked + d.vectors + d.scores) / p["prompt_memory"]
              + p["unpack_ops"] * d.unpack)
    overlap = d.quantised * p["overlap_quantised"] + (1 - d.quantised) * p["overlap_plain"]
    gain = 1 + overlap * (2 * d.stages / (d.stages + 1) - 1)
    prompt = np.where((d.stages > 1) & (d.ubatches > 1), prompt / gain, prompt)
    return np.where(d.group == "step", step, prompt)


def report(name, e):
    print(f"{name}: {len(e)} rows, mean {e.mean():.3f}, median {np.median(e):.3f}")


def number(v):
    return f"{float(f'{v:.4g}'):.12f}".rstrip("0").rstrip(".")


def write(path, served, llamacpp):
    def rows(kind, fields):
        out = []
        for name, value in sorted(served.items()):
            words = name.split(" ")
            if words[0] == kind:
                keys = ", ".join(f'{f}: "{w}"' if f == "release" else f"{f}: {w}" for f, w in zip(fields, words[1:]))
                out.append(f"  - {{{keys}, {fields[-1]}: {number(value)}}}\n")
        return "".join(out)

    engines = {"vLLM": "vllm", "SGLang": "sglang"}
    served = {" ".join(engines.get(w, w) for w in k.split(" ")): v for k, v in served.items()}
    with open(path, "w") as f:
        f.write('source: "bench/accuracy/throughput_fit.py, fit half of throughput_cases"\n')
        f.write("devices:\n" + rows("memory", ["device", "memory"]))
        f.write("steps:\n" + rows("step", ["engine", "release", "step_s"]))
        f.write("experts:\n" + rows("experts", ["engine", "release", "format", "layer_s"]))
        f.write(f"unpack: {number(served['unpack'])}\n")
        f.write("llamacpp:\n" + "".join(f"  {k}: {number(v)}\n" for k, v in llamacpp.items()))


def main():
    data = pd.read_csv(sys.argv[1], dtype={"release": str}).fillna({"release": ""})
    fits = {}
    for name, part, seconds_of in (("served", data.group == "served", served_seconds),
                                   ("llamacpp", data.group != "served", llamacpp_seconds)):
        d = data[part & (data.half == "fit")].reset_index(drop=True)
        start = served_names(data[part]) if name == "served" else LLAMACPP
        names = list(start)
        report(f"{name}, cross-validated", cross_validate(names, start, seconds_of, d))
        fits[name] = solve(names, start, seconds_of, d)
        print("  " + ", ".join(f"{k} {v:.4g}" for k, v in fits[name].items()))
        for key, rows in d.groupby(["engine", "device", "group"]):
            report("  fitted, " + ", ".join(key), errors(fits[name], seconds_of, rows))
    if len(sys.argv) < 3:
        return
    for group in ("step", "prompt"):
        held = data[(data.group == group) & (data.half == "held")]
        fits["llamacpp"][f"{group}_error"] = errors(fits["llamacpp"], llamacpp_seconds, held).mean()
    write(f"{sys.argv[2]}/rates.yaml", fits["served"], fits["llamacpp"])


if __name__ == "__main__":
    main()
