"""How far llama.cpp on the quantised file is from itself and from an independent program that rounds as it does.

  python rounding_of_llama_cpp.py --model SmolLM2-135M-Instruct.Q4_1.gguf --out rounding_smollm2_q4_1.json

Compared at every position of the prompts of make_logits_smollm2.py, relative L2 over all logits:
  one_by_one      llama.cpp with the same settings, tokens fed one at a time instead of together
  one_thread      llama.cpp with one thread
  rounded_f32     transformers with dequantised weights whose linear layers first round their input to 8 bits in
                  blocks of 32, scale amax / 127 in f32
  rounded_f16     the same with the scale rounded to f16, as Q8_0 and Q8_1 store it
  not_rounded     transformers with dequantised weights as they are
It is the ground for a tolerance: no program that sums in another order can be nearer than these.
"""
import argparse
import json
from importlib.metadata import version

import numpy
import torch

import gguf_torch
from make_logits_smollm2 import PROMPTS, LlamaCpp, relative


def rounding(scale_type):
    def hook(_, inputs):
        x = inputs[0]
        blocks = x.reshape(*x.shape[:-1], -1, 32)
        scale = blocks.abs().amax(-1, keepdim=True) / 127
        whole = torch.where(scale > 0, blocks / scale, torch.zeros_like(blocks))
        whole = torch.sign(whole) * torch.floor(whole.abs() + 0.5)
        return ((whole * scale.to(scale_type).to(x.dtype)).reshape(x.shape),)
    return hook


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    peer = LlamaCpp(arguments.model)
    prompts = [peer.tokenize(t) for t in PROMPTS]
    base = [peer.logits(ids) for ids in prompts]
    found = {}

    def compare(name, source):
        rows = [source(ids) for ids in prompts]
        found[name] = {"all": [round(relative(a, b), 6) for a, b in zip(rows, base)],
                       "last_position": [round(relative(a[-1], b[-1]), 6) for a, b in zip(rows, base)]}
        print(name, found[name], flush=True)

    def one_by_one(ids):
        peer.llm.reset()
        for token in ids:
            peer.llm.eval([token])
        return numpy.array(peer.llm.scores[: len(ids)], numpy.float64)

    compare("one_by_one", one_by_one)
    compare("one_thread", LlamaCpp(arguments.model, threads=1).logits)
    model = gguf_torch.llama(arguments.model)
    compare("not_rounded", lambda ids: gguf_torch.logits(model, ids))
    for name, scale in (("rounded_f32", torch.float32), ("rounded_f16", torch.float16)):
        handles = [m.register_forward_pre_hook(rounding(scale)) for m in model.modules()
                   if isinstance(m, torch.nn.Linear)]
        compare(name, lambda ids: gguf_torch.logits(model, ids))
        for handle in handles:
            handle.remove()
    fixture = {"schema": "vramplan.reference.rounding/1", "settings": peer.settings, "relative_l2_to_llama_cpp": found,
               "versions": {p: version(p) for p in ("llama_cpp_python", "transformers", "torch", "gguf")}}
    with open(arguments.out, "w") as out:
        json.dump(fixture, out, indent=1)
        out.write("\n")


if __name__ == "__main__":
    main()
