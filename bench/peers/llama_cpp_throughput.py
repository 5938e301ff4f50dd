"""Prompt and generation speed of llama.cpp on this machine, to hold beside forward_bench.

Usage: python3 bench/peers/llama_cpp_throughput.py MODEL.gguf [--threads 2] [--prompt 512]
Needs the llama-cpp-python package. Best of the repetitions, with the load average before and after:
on a busy machine the figures say little.
"""
import argparse
import os
import time

from llama_cpp import Llama


def timed(function):
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=4)
    args = parser.parse_args()
    llama = Llama(args.model, n_ctx=args.prompt + args.generate + 8, n_threads=args.threads,
                  n_threads_batch=args.threads, n_batch=args.prompt, n_ubatch=args.prompt,
                  verbose=False)
    vocabulary = llama.n_vocab()
    prompt = [(i * 7919) % (vocabulary - 200) + 100 for i in range(args.prompt)]

    def generate():
        for i in range(args.generate):
            llama.eval([1000 + i])

    load_before = os.getloadavg()[0]
    prefill = decode = 0.0
    for _ in range(args.repeat):
        llama.reset()
        prefill = max(prefill, args.prompt / timed(lambda: llama.eval(prompt)))
        decode = max(decode, args.generate / timed(generate))
    print(f"threads {args.threads}  prompt {args.prompt}: {prefill:.1f} tok/s  "
          f"decode after it: {decode:.1f} tok/s  "
          f"load {load_before:.1f} -> {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
