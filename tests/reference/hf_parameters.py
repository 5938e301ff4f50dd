#!/usr/bin/env python3
"""Counts the parameters of published configurations with transformers, an implementation not ours.

Each config of hf_configs.json is built on torch's meta device (no memory, no download); parameters
are counted, tied tables once, beside the buffers that decide routing. Towers of multimodal models
are left out: the text config alone is built.

usage: hf_parameters.py tests/reference/hf_configs.json > tests/reference/hf_parameters.csv
"""
import json
import sys
import warnings

import torch
import transformers

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()


def count(config):
    config = dict(config.get("text_config", config))
    config.pop("quantization_config", None)
    config.pop("auto_map", None)
    model_type = {"kimi_k2": "deepseek_v3"}.get(config["model_type"], config["model_type"])
    made = transformers.AutoConfig.for_model(model_type, **{k: v for k, v in config.items() if k != "model_type"})
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(made)
    model.tie_weights()
    total = sum(p.numel() for p in model.parameters())
    # The correction bias of sigmoid routers is stored with the weights.
    return total + sum(b.numel() for n, b in model.named_buffers() if "correction_bias" in n or "expert_bias" in n)


def main():
    print("config,transformers_version,parameters")
    for name, entry in sorted(json.load(open(sys.argv[1])).items()):
        try:
            print(f"{name},{transformers.__version__},{count(entry['config'])}", flush=True)
        except Exception as error:  # a family this version has no class for
            print(f"{name}: {type(error).__name__}: {str(error)[:150]}", file=sys.stderr)


main()
