#!/usr/bin/env python3
"""Fits the serve_ numbers of planner/engines/tables to the fit half of serving_cases.csv.

usage: serving_accuracy TRUTH bench/accuracy --terms > terms.csv
       serving_fit.py terms.csv [planner/engines/tables]

Needs numpy, scipy, pandas. The seconds of kernels come from the C++ model (`--terms`); what is fitted here is how an
engine adds to them, per engine, and two factors a release (planner/served_release.h): on the kernels of prompts, by
device and format, and on host work. The form is that of planner/serving.cc. Only rows of the fit half are read, those
that other rows contradict not at all, and rows that repeat one measurement count as one. Errors are of five-fold
cross-validation inside it: folds by question, and by set-up (engine, release, model, device, format: what is said of a
set-up that nobody measured). With a folder the tables are written.
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
             wave_steady=.02, lock_spread=.1, lock_equal=.5, lock_steady=.1, growth=.8, wait=1,
             front_s=1e-4, front_request_s=2e-3)
# Only rows of TensorRT-LLM 1.0 resolve what their front end takes. No row of vLLM streams fast enough to meet it; with
# SGLang's it follows a dozen rows of one set-up, and those of others left out come out twice as wrong.
FRONT = ["front_s", "front_request_s"]
UNRESOLVED = {"sglang": FRONT, "vllm": FRONT}
STATIONS = 4  # how sharply the slower of engine and front end takes over: planner/serving.cc
RELEASE_PRIOR = 0.3  # of a release's factor, which keeps those of few rows near 1
PRIOR = 0.1
TTFT_WEIGHT = 0.7


def features(d):
    column = lambda name: d[name].to_numpy(float)
    x = {p: d[[f"{p}_{k}" for k in KINDS]].to_numpy(float) for p in PASSES}
    for name in ("layers", "asked", "concurrency", "kv_tokens", "input", "output", "experts", "latent", "wait", "groups"):
        x[name] = column(name)
    x["prompts"] = np.maximum(1, np.floor(column("full_prompts")))
    x["passes"] = np.maximum(1, 1 / column("full_prompts"))
    x["arrival"] = d.arrival.map(ARRIVALS.index).to_numpy()
    return x


def step_seconds(x, factors, sequences):
    """Straight lines between the numbers of sequences the kernels were asked for."""
    at = [np.maximum(1, x["asked"] * s) for s in SHARES]
    seconds = [x[p] @ factors for p in PASSES[:4]]
    out = seconds[3]
    for i in (2, 1, 0):
        t = np.clip((sequences - at[i + 1]) / np.maximum(at[i] - at[i + 1], 1e-9), 0, 1)
        out = np.where(sequences > at[i + 1], seconds[i + 1] + t * (seconds[i] - seconds[i + 1]), out)
    return out


def model(p, x, release, host):
    """`release`: the factor on kernels of prompts, `host`: on host work, of each row."""
    factors = np.array([p[k] for k in KINDS])
    prompt_factors = np.array([p[k] for k in PROMPT_FACTORS])
    by_arrival = lambda name: np.array([p[f"{name}_{a}"] for a in ARRIVALS])[x["arrival"]]
    layer = p["pass_layer_s"] + p["pass_expert_layer_s"] * x["experts"] + p["pass_latent_layer_s"] * x["latent"]
    work = host * layer * x["layers"]
    prompt = release * (x["prompt"] @ prompt_factors) + work * x["passes"]
    share = np.where(x["prompts"] > 1, (release * (x["full"] @ prompt_factors) + work) / x["prompts"], prompt)
    grown = x["input"] + p["growth"] * x["output"]
    running = np.minimum(x["asked"], np.maximum(1, x["groups"] * x["kv_tokens"] / grown))
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
    together = by_arrival("wave") * others + by_arrival("lock") * np.log(np.maximum(1, running))
    ttft = (host * by_arrival("first_s") + response + together * share
            + (p["first_steps"] + p["wait"] * x["wait"]) * tpot + waiting * (response + output * tpot))
    alike = x["arrival"] != ARRIVALS.index("spread")
    front = p.get("front_request_s", 0) + p.get("front_s", 0) * output
    streamed = np.where(alike, x["concurrency"] * front, 0)
    whole = ttft + output * tpot
    return tpot, ttft + (whole ** STATIONS + streamed ** STATIONS) ** (1 / STATIONS) - whole


def relative(ratio):
    """The error that is reported, predicted / observed - 1; logarithmic where a prediction is above twice, so that rows
    that cannot be right do not pull the rest."""
    return np.where(ratio > 2, 1 + np.log(np.maximum(ratio, 2) / 2), ratio - 1)


class Fit:
    """Numbers of one engine, and factors of its releases: 1 for those that no row resolved."""

    def __init__(self, d, left_out, most_steps=40):
        x, self.names = features(d), [n for n in START if n not in left_out]
        self.releases, self.hosts = sorted(d.release.unique()), sorted(d.version.unique())
        start = np.log([START[n] for n in self.names])
        free = len(self.releases) + len(self.hosts)
        tpot, ttft, weight = d.tpot.to_numpy(), d.ttft.to_numpy(), np.sqrt(d.weight.to_numpy())
        soft = lambda r: np.sign(r) * np.sqrt(2 * (np.sqrt(1 + (r / .1) ** 2) - 1)) * .1
        at = [d.release.map(self.releases.index).to_numpy(), d.version.map(self.hosts.index).to_numpy()]

        def residuals(logs):
            self.read(logs)
            a, b = model(self.p, x, self.prompt[at[0]], self.host[at[1]])
            return np.concatenate([weight * soft(relative(a / tpot)),
                                   np.sqrt(TTFT_WEIGHT) * weight * soft(relative(b / ttft)),
                                   PRIOR * .1 * np.sqrt(len(tpot)) * (logs[:len(start)] - start),
                                   RELEASE_PRIOR * logs[len(start):]])

        first = np.concatenate([start, np.zeros(free)])
        width = np.concatenate([np.full(len(start), 6.0), np.full(free, 1.5)])
        self.read(least_squares(residuals, first, max_nfev=most_steps, bounds=(first - width, first + width)).x)

    def read(self, logs):
        values = np.exp(logs)
        self.p = dict(zip(self.names, values))
        self.prompt = values[len(self.names):len(self.names) + len(self.releases)]
        self.host = values[len(self.names) + len(self.releases):]

    def predict(self, d):
        prompts, hosts = dict(zip(self.releases, self.prompt)), dict(zip(self.hosts, self.host))
        return model(self.p, features(d), d.release.map(lambda r: prompts.get(r, 1.0)).to_numpy(),
                     d.version.map(lambda v: hosts.get(v, 1.0)).to_numpy())


def cross_validate(d, left_out, by):
    fold = d[by].map(lambda q: zlib.crc32(q.encode()) % 5).to_numpy()
    a, b = np.zeros(len(d)), np.zeros(len(d))
    for i in range(5):
        if (fold == i).any():
            a[fold == i], b[fold == i] = Fit(d[fold != i], left_out, 25).predict(d[fold == i])
    return np.abs(a / d.tpot.to_numpy() - 1), np.abs(b / d.ttft.to_numpy() - 1)


def write(path, numbers, source):
    text = open(path).read()
    text = re.sub(r"      serve_\w+: \{.*\}\n", "", text)
    lines = "".join(f'      serve_{k}: {{value: {float(f"{v:.4g}"):.10g}, source: "{source}"}}\n'
                    for k, v in numbers.items())
    lines = re.sub(r"value: (\d+(\.\d+)?)e-0?(\d+)", lambda m: f"value: {float(m[0][7:]):.12f}".rstrip("0"), lines)
    position = text.index("    flags:\n")
    open(path, "w").write(text[:position] + lines + text[position:])


def write_releases(path, fits):
    prompts, hosts = [], []
    for engine, fit in fits.items():
        for name, factor in zip(fit.releases, fit.prompt):
            version, device, quantization = name.split("|")
            prompts.append(f'  - {{engine: {engine}, release: "{version}", device: "{device}", '
                           f"format: {quantization}, factor: {factor:.4g}}}\n")
        for version, factor in zip(fit.hosts, fit.host):
            hosts.append(f'  - {{engine: {engine}, release: "{version}", factor: {factor:.4g}}}\n')
    source = 'source: "bench/accuracy/serving_fit.py, fit half of serving_cases"\n'
    open(path, "w").write(source + "prompts:\n" + "".join(prompts) + "hosts:\n" + "".join(hosts))


def read_rows(path):
    data = pd.read_csv(path)
    data = data[(data.half == "fit") & data.contradicts.isna()]
    data = data[(data.groups == 1) & (data.ep == 1)].reset_index(drop=True)
    data["release"] = data.version + "|" + data.device + "|" + data.quantization
    family = data.model.str.replace("deepseek.*", "deepseek", regex=True)
    data["setup"] = data.engine + data.release + family
    one = data.engine + data.ttft.map("{:.6g}".format) + data.tpot.map("{:.6g}".format)
    data["weight"] = 1 / one.groupby(one).transform("size")
    return data


def main():
    data = read_rows(sys.argv[1])
    every, fits = [[], []], {}
    for engine in sorted(data.engine.unique()):
        d = data[data.engine == engine].reset_index(drop=True)
        left_out = UNRESOLVED.get(engine, [])
        errors = cross_validate(d, left_out, "question")
        elsewhere = cross_validate(d, left_out, "setup")
        fits[engine] = fit = Fit(d, left_out)
        p = dict(fit.p)
        p["tpot_error"], p["ttft_error"] = (float(e.mean()) for e in errors)
        p["tpot_error_elsewhere"], p["ttft_error_elsewhere"] = (float(e.mean()) for e in elsewhere)
        for kept, e in zip(every, errors):
            kept.extend(e)
        print(f"{engine}: {len(d)} rows, cross-validated TPOT {errors[0].mean():.3f} median {np.median(errors[0]):.3f}, "
              f"TTFT {errors[1].mean():.3f} median {np.median(errors[1]):.3f}; set-ups left out: "
              f"TPOT {elsewhere[0].mean():.3f}, TTFT {elsewhere[1].mean():.3f}")
        print("  " + ", ".join(f"{k} {v:.3g}" for k, v in p.items()))
        if len(sys.argv) > 2:
            p.update({n: 0.0 for n in left_out})
            write(f"{sys.argv[2]}/{engine}.yaml", p, "bench/accuracy/serving_fit.py, fit half of serving_cases")
    print(f"all: TPOT {np.mean(every[0]):.3f} median {np.median(every[0]):.3f}, "
          f"TTFT {np.mean(every[1]):.3f} median {np.median(every[1]):.3f}, "
          f"within 15 % {np.mean(np.array(every[1]) <= .15):.2f}")
    if len(sys.argv) > 2:
        write_releases(f"{sys.argv[2]}/served.yaml", fits)


if __name__ == "__main__":
    main()
