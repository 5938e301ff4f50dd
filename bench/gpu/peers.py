#!/usr/bin/env python3
"""Times torch and transformers on the shapes gpu_record uses, on the same GPU; JSON out.

peers.py --commit SHA [--out FILE] [--seconds 200] [--model HF_FOLDER]

Parts: copy bandwidth and bf16 matrix product; scaled_dot_product_attention for decode and prefill; with --model a
static cache and torch.compile decode of transformers. What is not installed, or does not fit the time, is named
under "left_out".
"""
import argparse
import json
import sys
import time


def timed(torch, call, seconds=0.05):
    """Least of five timings of a batch of calls, per call, in seconds, by events."""
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

    def batch(count):
        begin.record()
        for _ in range(count):
            call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) * 1e-3 / count

    count = max(1, min(200, int(seconds / max(batch(1), 1e-7))))
    return min(batch(count) for _ in range(5))


def rates(torch):
    source = torch.empty(2 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    copy = 2 * source.numel() / timed(torch, lambda: target.copy_(source))
    del source, target
    a = torch.randn(8192, 8192, dtype=torch.bfloat16, device="cuda")
    b = torch.randn(8192, 8192, dtype=torch.bfloat16, device="cuda")
    return {"copy_bytes_per_s": copy, "gemm_flops_per_s": 2 * 8192**3 / timed(torch, lambda: a @ b)}


def attention(torch, late, left_out):
    points = []
    shapes = [(1, length, n) for length in (4096, 16384, 65536) for n in (1, 8, 32) if length * n <= 131072]
    shapes += [(queries, queries, 1) for queries in (1024, 8192)]
    for queries, length, sequences in shapes:
        if late():
            left_out.append(f"sdpa {queries} x {length} x {sequences}")
            continue
        make = lambda heads, rows: torch.randn(sequences, heads, rows, 128, dtype=torch.bfloat16, device="cuda")
        q, k, v = make(32, queries), make(8, length), make(8, length)
        causal = queries > 1
        call = lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)
        points.append({"kernel": "sdpa", "queries": queries, "kv_length": length, "sequences": sequences,
                       "seconds": timed(torch, call), "kv_bytes": 2 * k.numel() * 2})
    return points


def decode(torch, folder, late, left_out):
    """Seconds a token of batch-1 decode with a static cache, compiled."""
    try:
        from transformers import AutoModelForCausalLM, StaticCache
    except ImportError as error:
        left_out.append(f"transformers: {error}")
        return None
    model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.bfloat16).to("cuda").eval()
    cache = StaticCache(config=model.config, max_batch_size=1, max_cache_len=4096, device="cuda", dtype=torch.bfloat16)
    prompt = torch.randint(0, model.config.vocab_size, (1, 1024), device="cuda")
    step = torch.compile(model, mode="reduce-overhead", fullgraph=True)
    with torch.no_grad():
        model(prompt, past_key_values=cache, cache_position=torch.arange(1024, device="cuda"), use_cache=True)
        token, position = prompt[:, -1:], torch.tensor([1024], device="cuda")
        seconds = []
        for _ in range(64):
            if late():
                left_out.append("the rest of the decode steps")
                break
            torch.cuda.synchronize()
            begin = time.perf_counter()
            logits = step(token, past_key_values=cache, cache_position=position, use_cache=True).logits
            token, position = logits[:, -1:].argmax(-1), position + 1
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - begin)
    seconds.sort()
    return {"model": folder, "decode_seconds": seconds[len(seconds) // 2], "steps": len(seconds),
            "peak_bytes": torch.cuda.max_memory_reserved()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commit", required=True)
    parser.add_argument("--out")
    parser.add_argument("--seconds", type=float, default=200)
    parser.add_argument("--model")
    options = parser.parse_args()
    begin = time.monotonic()
    late = lambda: time.monotonic() - begin > options.seconds
    try:
        import torch
    except ImportError:
        print("peers: torch is not installed here", file=sys.stderr)
        return 6
    if not torch.cuda.is_available():
        print("peers: no CUDA device", file=sys.stderr)
        return 7
    left_out = []
    record = {"schema": "vramplan.gpu_peers/1", "commit": options.commit, "device": torch.cuda.get_device_name(),
              "torch": torch.__version__, "cuda": torch.version.cuda,
              "time_utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
              "rates": rates(torch), "attention": attention(torch, late, left_out), "left_out": left_out}
    if options.model:
        record["transformers"] = decode(torch, options.model, late, left_out)
    text = json.dumps(record, indent=1) + "\n"
    if options.out:
        with open(options.out, "w") as file:
            file.write(text)
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
