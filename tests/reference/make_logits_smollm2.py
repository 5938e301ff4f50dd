"""Logits and greedy texts of SmolLM2-135M-Instruct.Q4_1.gguf, from two sides.

  python make_logits_smollm2.py --model SmolLM2-135M-Instruct.Q4_1.gguf --out FOLDER

logits_smollm2_q4_1.{json,bin}: llama.cpp on the quantised file (2 threads, f32 KV cache, no flash attention). It
  rounds each activation vector to 8 bits in blocks of 32 (Q8_1 against Q4_1, Q8_0 against Q8_0) before it multiplies.
logits_smollm2_f32.{json,bin}: transformers, float32, eager attention, on the exactly dequantised weights: no rounding
  of activations. The same computed in float64 says how exact that is.
The json names the relative L2 distance between the three. The .bin files hold little-endian f32 [prompts, vocab]:
the logits at each prompt's last position. `top` lists, for each position, 20 (id, logit) pairs, and `exact_top` of the
quantised file the float32 logits of the same ids, so that a test can say how far each side is from exact arithmetic
over all positions. Greedy margins say how far the best logit was above the second: a step with a small one may go either way under other rounding.
"""
import argparse
import json
import os
from importlib.metadata import version

import jinja2.sandbox
import numpy
from llama_cpp import Llama

import gguf_torch

PROMPTS = [
    "The capital of France is Paris. The capital of Italy is Rome. The capital of Spain is",
    "def fibonacci(n):\n    \"\"\"Return the n-th Fibonacci number.\"\"\"\n    if n < 2:\n        return n\n    return",
]
# Greedy chains whose every step is clear: llama.cpp, which rounds, and float32, which does not, agree on 64 tokens.
# (llama.cpp with one thread: the same bits as with two, see rounding_of_llama_cpp.py, and faster on a busy machine.)
CLEAR_CHATS = [
    [{"role": "user", "content": "Count from 1 to 30, separated by commas."}],
    [{"role": "user", "content": "Write 'I love programming' ten times."}],
]
# Free text: steps are close calls, so only a program that does not round follows float32 here.
CHATS = [
    [{"role": "user", "content": "Explain in a few sentences why the sky is blue."}],
    [{"role": "system", "content": "You are a poet."}, {"role": "user", "content": "Write a short poem about the sea."}],
]
GREEDY = 64


def relative(a, b):
    return float(numpy.linalg.norm(a - b) / numpy.linalg.norm(b))


def top(rows, count=20):
    out = []
    for row in rows:
        best = numpy.argsort(-row, kind="stable")[:count]
        out.append([[int(i), round(float(row[i]), 5)] for i in best])
    return out


class LlamaCpp:
    def __init__(self, path, threads=2):
        self.llm = Llama(path, n_ctx=256, n_batch=256, n_ubatch=256, n_threads=threads, n_threads_batch=threads,
                         logits_all=True, type_k=0, type_v=0, flash_attn=False, n_gpu_layers=0, verbose=False)
        self.settings = f"n_threads {threads}, type_k f32, type_v f32, flash_attn off, n_ubatch 256"

    def tokenize(self, text):
        return self.llm.tokenize(text.encode(), add_bos=False, special=True)

    def logits(self, ids):
        self.llm.reset()
        self.llm.eval(ids)
        return numpy.array(self.llm.scores[: len(ids)], numpy.float64)

    def greedy(self, ids, count):
        self.llm.reset()
        out, margins, step = [], [], ids
        for _ in range(count):
            self.llm.eval(step)
            row = numpy.array(self.llm.scores[self.llm.n_tokens - 1], numpy.float64)
            first, second = numpy.argsort(-row, kind="stable")[:2]
            out.append(int(first))
            margins.append(round(float(row[first] - row[second]), 4))
            step = [int(first)]
        return out, margins

    def text(self, ids):
        return self.llm.detokenize(ids, special=False).decode(errors="replace")


def write(folder, name, fixture, last_rows):
    with open(os.path.join(folder, name + ".json"), "w") as out:
        json.dump(fixture, out, separators=(",", ":"))
        out.write("\n")
    numpy.array(last_rows, "<f4").tofile(os.path.join(folder, name + ".bin"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    peer = LlamaCpp(arguments.model)
    exact = gguf_torch.llama(arguments.model)
    reader = gguf_torch.GGUFReader(arguments.model)
    template = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(
        reader.fields["tokenizer.chat_template"].contents())

    prompts = [{"text": t, "ids": peer.tokenize(t)} for t in PROMPTS]
    quantised = [peer.logits(p["ids"]) for p in prompts]
    single = [gguf_torch.logits(exact, p["ids"]) for p in prompts]

    def greedy(source, conversations):
        out = []
        for messages in conversations:
            text = template.render(messages=messages, add_generation_prompt=True)
            prompt_ids = peer.tokenize(text)
            ids, margins = source(prompt_ids, GREEDY)
            out.append({"messages": messages, "prompt": text, "ids": prompt_ids, "output": ids, "text": peer.text(ids),
                        "margins": margins})
        return out

    def exact_greedy(ids, count):
        return gguf_torch.greedy(exact, ids, count)

    quantised_greedy = greedy(LlamaCpp(arguments.model, threads=1).greedy, CLEAR_CHATS)
    single_greedy = greedy(exact_greedy, CLEAR_CHATS + CHATS)
    for ours, theirs in zip(quantised_greedy, single_greedy):
        assert ours["output"] == theirs["output"], "not a clear chain: " + ours["prompt"]
    exact.double()
    double = [gguf_torch.logits(exact, p["ids"]) for p in prompts]
    distances = {
        "llama_cpp_to_f32": [round(relative(a, b), 6) for a, b in zip(quantised, single)],
        "llama_cpp_to_f32_last_position": [round(relative(a[-1], b[-1]), 6) for a, b in zip(quantised, single)],
        "f32_to_f64": [round(relative(a, b), 9) for a, b in zip(single, double)],
    }
    common = {"schema": "vramplan.reference.logits/1", "file": os.path.basename(arguments.model),
              "versions": {p: version(p) for p in ("llama_cpp_python", "transformers", "torch", "gguf", "numpy")},
              "relative_l2": distances}

    def body(rows, chains, how):
        return common | {"how": how, "vocab": int(rows[0].shape[1]), "greedy": chains, "prompts": [
            p | {"top": top(r)} for p, r in zip(prompts, rows)]}

    fixture = body(quantised, quantised_greedy, "llama.cpp, " + peer.settings)
    for prompt, rows in zip(fixture["prompts"], single):
        prompt["exact_top"] = [[round(float(row[i]), 5) for i, _ in pairs] for row, pairs in zip(rows, prompt["top"])]
    write(arguments.out, "logits_smollm2_q4_1", fixture, [r[-1] for r in quantised])
    write(arguments.out, "logits_smollm2_f32",
          body(single, single_greedy, "transformers, float32, eager attention, dequantised weights"),
          [r[-1] for r in single])
    print(json.dumps(distances))
    for chains in (quantised_greedy, single_greedy):
        for chain in chains:
            print(min(chain["margins"]), repr(chain["text"]))


if __name__ == "__main__":
    main()
