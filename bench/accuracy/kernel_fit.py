#!/usr/bin/env python3
"""Fits planner/engines/tables/kernels.yaml to kernel times measured on H100, H200 and B200.

usage: kernel_fit.py SYSTEMS > planner/engines/tables/kernels.yaml

SYSTEMS is the folder aiconfigurator_core/systems of the wheel aiconfigurator-core 0.12.0 (PyPI, data under
Apache-2.0): `pip download --no-deps aiconfigurator-core==0.12.0`, then unzip. Needs numpy, scipy, pyarrow, pandas.

A kernel takes call + each * x + (memory_time^power + compute_time^power)^(1/power) seconds, with memory_time =
bytes / (bandwidth * memory) and compute_time = flops / (peak * compute). What bytes, flops and x are stands
beside each operation below and in planner/kernel_cost.h. A quarter of the shapes, by a hash, is kept from the fit;
`error` is the median absolute share of the error on them.
"""
import hashlib
import sys

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

# Data sheet, as in modelcards/devices: bytes/s, flops/s in 16, 8 and 4 bits, bytes/s of a link one way.
DEVICES = {
    "h100_sxm": ("h100-sxm-80gb", 3.35e12, {16: 9.89e14, 8: 1.979e15, 4: 9.89e14}, 4.5e11),
    "h200_sxm": ("h200-sxm-141gb", 4.8e12, {16: 9.89e14, 8: 1.979e15, 4: 9.89e14}, 4.5e11),
    "b200_sxm": ("b200-sxm-180gb", 8e12, {16: 2.25e15, 8: 4.5e15, 4: 9e15}, 9e11),
}
VERSIONS = {"vllm": "0.24.0", "sglang": "0.5.14", "trtllm": "1.3.0rc20"}
WORDS = {"bfloat16": "bf16", "int4_wo": "int4", "w4a16_mxfp4": "mxfp4", "w4a8_mxfp4_mxfp8": "mxfp4_fp8"}
STORED = {"bf16": 2, "fp8": 1, "fp8_block": 1, "nvfp4": 0.5625, "mxfp4": 0.53125, "mxfp4_fp8": 0.53125,
          "int4": 0.5195}
COMPUTED = {"bf16": 16, "fp8": 8, "fp8_block": 8, "nvfp4": 4, "mxfp4": 16, "mxfp4_fp8": 8, "int4": 16}


def held_out(frame, columns):
    text = frame[columns].astype(str).agg("|".join, axis=1)
    return text.map(lambda t: hashlib.sha1(t.encode()).digest()[0] % 4 == 0).to_numpy()


def solve(bytes_s, flops_s, each, seconds, hold):
    """Least squares on the logarithm; soft_l1 keeps outliers of the measurement from leading."""
    def seconds_of(p, b, f, x):
        call, step, memory, compute, power = np.exp(p)
        return call + step * x + ((b / memory) ** power + (f / compute) ** power) ** (1 / power)

    keep = ~hold
    scale = np.median(each[each > 0]) if (each > 0).any() else 1.0
    x = each / scale
    start = np.log([max(seconds.min() * 0.7, 1e-6), 1e-6, 0.8, 0.6, 2.0])
    low = np.log([1e-7, 1e-12, 0.05, 0.02, 0.7])
    high = np.log([1e-3, 1e-1, 3.0, 1.5, 6.0])
    fit = least_squares(
        lambda p: np.log(seconds_of(p, bytes_s[keep], flops_s[keep], x[keep])) - np.log(seconds[keep]),
        start, loss="soft_l1", f_scale=0.1, max_nfev=400, bounds=(low, high))
    call, step, memory, compute, power = np.exp(fit.x)
    error = np.abs(seconds_of(fit.x, bytes_s[hold], flops_s[hold], x[hold]) / seconds[hold] - 1)
    return dict(call_s=call, each_s=step / scale, memory=memory, compute=compute, power=power,
                rows=int(keep.sum()), error=float(np.median(error)))


def sample(frame, most=8000):
    return frame.sample(min(len(frame), most), random_state=1)


def gemm(frame, dtype, bandwidth, peaks):
    """[m, k] x [k, n]: x = k."""
    f = frame[(frame.n >= 512) & (frame.k >= 256) & (frame.m <= 16384)]
    f = sample(f.groupby(["m", "n", "k"]).latency.min().reset_index())
    m, n, k = (f[c].to_numpy(float) for c in "mnk")
    stored = STORED[dtype]
    moved = (n * k + m * k) * stored + 2 * m * n
    return solve(moved / bandwidth, 2 * m * n * k / peaks[COMPUTED[dtype]], k, f.latency.to_numpy() * 1e-3,
                 held_out(f, ["m", "n", "k"]))


def attention_shapes(f, dtype):
    heads, kv, dim = (f[c].to_numpy(float) for c in ("num_heads", "num_key_value_heads", "head_dim"))
    return heads, kv, dim, STORED[dtype]


def prefill_attention(f, dtype, bandwidth, peaks):
    """Causal: flops = 4 x pairs x heads x head_dim; x = tokens x heads x head_dim. Scores in 16 bits."""
    f = sample(f[(f.isl >= 64) & (f.window_size == 0) & (f.head_dim.isin([64, 128]))])
    heads, kv, dim, stored = attention_shapes(f, dtype)
    b, s = f.batch_size.to_numpy(float), f.isl.to_numpy(float)
    moved = b * s * dim * (2 * kv * stored + 4 * heads)
    flops = 4 * b * s * (s + 1) / 2 * heads * dim
    return solve(moved / bandwidth, flops / peaks[16], b * s * heads * dim, f.latency.to_numpy() * 1e-3,
                 held_out(f, ["batch_size", "isl", "num_heads", "num_key_value_heads", "head_dim"]))


def decode_attention(f, dtype, bandwidth, peaks):
    """bytes = the cache; x = sequences x heads x head_dim."""
    f = sample(f[(f.step >= 127) & (f.window_size == 0) & (f.head_dim.isin([64, 128]))])
    heads, kv, dim, stored = attention_shapes(f, dtype)
    b, s = f.batch_size.to_numpy(float), f.step.to_numpy(float) + 1
    moved = 2 * b * s * dim * kv * stored
    return solve(moved / bandwidth, 4 * b * s * heads * dim / peaks[16], b * heads * dim,
                 f.latency.to_numpy() * 1e-3,
                 held_out(f, ["batch_size", "step", "num_heads", "num_key_value_heads", "head_dim"]))


def prefill_latent(f, dtype, bandwidth, peaks):
    """MLA, expanded: 192 and 128 columns a head; x = tokens x heads."""
    f = sample(f[(f.isl >= 64)])
    heads, b, s = (f[c].to_numpy(float) for c in ("num_heads", "batch_size", "isl"))
    flops = 2 * b * s * (s + 1) / 2 * heads * (192 + 128)
    moved = b * s * heads * (192 + 192 + 128 + 128) * 2
    return solve(moved / bandwidth, flops / peaks[16], b * s * heads, f.latency.to_numpy() * 1e-3,
                 held_out(f, ["batch_size", "isl", "num_heads"]))


def decode_latent(f, dtype, bandwidth, peaks):
    """MLA, absorbed: 576 cached columns, 512 of them values; x = sequences x heads."""
    f = sample(f[f.step >= 127])
    heads, b, s = (f[c].to_numpy(float) for c in ("num_heads", "batch_size", "step"))
    s = s + 1
    return solve(b * s * 576 * STORED[dtype] / bandwidth, 2 * b * s * heads * (576 + 512) / peaks[16],
                 b * heads, f.latency.to_numpy() * 1e-3, held_out(f, ["batch_size", "step", "num_heads"]))


def experts(f, dtype, bandwidth, peaks):
    """Gate, up and down of the experts a rank holds, split evenly; bytes = those that some token reaches,
    1 - (1 - k / E)^tokens of them; x = tokens x k / ranks x hidden, what is gathered and scattered."""
    f = f[(f.num_experts >= 32) & (f.distribution == "power_law_1.2") & (f.moe_ep_size == 1) & (f.moe_tp_size <= 8)]
    keys = ["num_tokens", "hidden_size", "inter_size", "topk", "num_experts", "moe_tp_size", "moe_ep_size"]
    f = sample(f.groupby(keys).latency.min().reset_index())
    t, h, i, k, e, tp, ep = (f[c].to_numpy(float) for c in keys)
    touched = e / ep * (1 - (1 - k / e) ** t)
    moved = touched * 3 * h * i / tp * STORED[dtype]
    flops = 6 * t * k / ep * h * i / tp
    return solve(moved / bandwidth, flops / peaks[COMPUTED[dtype]], t * k / ep * h, f.latency.to_numpy() * 1e-3,
                 held_out(f, keys))


def all_reduce(f, ranks, link):
    """16-bit tensor of `bytes`; each rank moves 2 (n - 1) / n of it. Sizes of the data are elements."""
    f = f[f.num_gpus == ranks].groupby("message_size").latency.min().reset_index()
    moved = f.message_size.to_numpy(float) * 2 * 2 * (ranks - 1) / ranks
    none = np.full(len(f), 1e-12)
    fit = solve(moved / link, none, none * 0, f.latency.to_numpy() * 1e-3, np.arange(len(f)) % 4 == 1)
    return dict(fit, each_s=0.0, compute=1.0, power=1.0)


def emit(op, engine, device, dtype, ranks, fit, source):
    numbers = ", ".join(f"{k}: {fit[k]:.4g}" for k in ("call_s", "each_s", "memory", "compute", "power"))
    print(f"  - {{op: {op}, engine: {engine}, device: {device}, dtype: {dtype}, ranks: {ranks}, {numbers}, "
          f"rows: {fit['rows']}, error: {fit['error']:.3f}, source: \"{source}\"}}", flush=True)
    print(f"{op:18s} {engine:7s} {device:15s} {dtype:10s} {ranks} {numbers} rows {fit['rows']} "
          f"error {fit['error']:.3f}", file=sys.stderr)


def tables(folder, system, engine):
    """(op, fit, file, dtype column) of the tables an engine has on a system."""
    version = VERSIONS[engine]
    # vLLM's tables of latent attention are modules, with their matrices; SGLang's prefill was timed absorbed,
    # which an engine that caches no prefix does not run.
    latent = engine if engine != "vllm" else "sglang"
    return [
        ("gemm", gemm, f"gemm/{engine}/{version}/gemm_perf", "gemm_dtype"),
        ("attention_prefill", prefill_attention, f"attention/{engine}/{version}/context_attention_perf",
         "kv_cache_dtype"),
        ("attention_decode", decode_attention, f"attention/{engine}/{version}/generation_attention_perf",
         "kv_cache_dtype"),
        ("latent_prefill", prefill_latent, f"mla/trtllm/{VERSIONS['trtllm']}/context_mla_perf",
         "kv_cache_dtype"),
        ("latent_decode", decode_latent, f"mla/{latent}/{VERSIONS[latent]}/generation_mla_perf",
         "kv_cache_dtype"),
        ("experts", experts, f"moe/{engine}/{version}/moe_perf", "moe_dtype"),
    ]


def main():
    folder = sys.argv[1] + "/data/"
    print("# Written by bench/accuracy/kernel_fit.py from aiconfigurator-core 0.12.0 (PyPI, Apache-2.0): kernels timed")
    print("# alone on the device. Times of a kernel: planner/kernel_cost.h. error: median share, shapes held out.")
    print("rows:")
    for system, (device, bandwidth, peaks, link) in DEVICES.items():
        for engine in VERSIONS:
            for op, fit, path, column in tables(folder, system, engine):
                frame = pd.read_parquet(f"{folder}{system}/{path}.parquet")
                frame = frame[frame.latency > 0]
                for word in sorted(frame[column].unique()):
                    dtype = WORDS.get(word, word)
                    if dtype not in STORED:
                        continue
                    part = frame[frame[column] == word]
                    # vLLM's block-scaled products were timed with their launches (70 to 200 us a call);
                    # SGLang runs the same DeepGEMM kernels.
                    if (op, engine, dtype) == ("gemm", "vllm", "fp8_block"):
                        path = f"gemm/sglang/{VERSIONS['sglang']}/gemm_perf"
                        part = pd.read_parquet(f"{folder}{system}/{path}.parquet")
                        part = part[part[column] == word]
                    if len(part) >= 60:
                        emit(op, engine, device, dtype, 1, fit(part, dtype, bandwidth, peaks), path)
            path = f"comm/{engine}/{VERSIONS[engine]}/custom_allreduce_perf"
            frame = pd.read_parquet(f"{folder}{system}/{path}.parquet")
            if engine == "vllm":
                frame = frame[frame.backend == "vllm_graph"]
            for ranks in (2, 4, 8):
                emit("all_reduce", engine, device, "bf16", ranks, all_reduce(frame, ranks, link), path)


if __name__ == "__main__":
    main()
