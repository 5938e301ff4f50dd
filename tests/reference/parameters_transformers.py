#!/usr/bin/env python3
"""Counts the parameters of every model card with transformers, an implementation that is not ours.

Each card becomes a configuration of its family's class; the model is built on torch's meta device
(no memory, no download) and its parameters are counted, tied tables once.

usage: parameters_transformers.py CARDS_FOLDER > tests/reference/parameters.csv
"""
import sys
from pathlib import Path

import torch
import transformers
import yaml


def layers_of(card):
    """The card's layers, patterns unrolled; each a (mixer, feed_forward, flags) of merged maps."""
    common = card.get("layer", {})

    def merged(group):
        mixer = {**common.get("mixer", {}), **group.get("mixer", {})}
        mixer["rope"] = {**common.get("mixer", {}).get("rope", {}), **group.get("mixer", {}).get("rope", {})}
        return mixer, {**common.get("feed_forward", {}), **group.get("feed_forward", {})}, {**common, **group}

    out = []
    for group in card["layers"]:
        for _ in range(group.get("repeat", 1)):
            for entry in group.get("pattern", [group]):
                out += [merged(entry)] * entry.get("count", 1)
    return out


def config_of(card):
    layers = layers_of(card)
    mixer, feed_forward, flags = layers[0]
    heads, hidden = mixer["heads"], card["hidden"]
    head_dim = mixer.get("head_dim", hidden // heads)
    common = dict(
        vocab_size=card["vocab"], hidden_size=hidden, num_hidden_layers=len(layers),
        num_attention_heads=heads, intermediate_size=feed_forward["intermediate"],
        max_position_embeddings=card["context_limit"], tie_word_embeddings=card.get("tied_head", False))
    grouped = dict(common, num_key_value_heads=mixer.get("kv_heads", heads), head_dim=head_dim)
    partial = mixer["rope"].get("rotary_dim", head_dim) / head_dim
    family = card["family"]
    if family == "llama":
        return transformers.LlamaConfig(**grouped)
    if family == "mistral":
        return transformers.MistralConfig(**grouped, sliding_window=mixer.get("window_tokens"))
    if family == "qwen2":
        return transformers.Qwen2Config(**grouped)
    if family == "qwen3":
        return transformers.Qwen3Config(**grouped)
    if family == "gemma2":
        return transformers.Gemma2Config(**grouped)
    if family == "gemma3":
        return transformers.Gemma3TextConfig(**grouped)
    if family == "phi3":
        return transformers.Phi3Config(**{k: v for k, v in grouped.items() if k != "head_dim"}, pad_token_id=0)
    if family == "phi":
        return transformers.PhiConfig(**common, num_key_value_heads=mixer.get("kv_heads", heads),
                                      partial_rotary_factor=partial)
    if family == "gptneox":
        return transformers.GPTNeoXConfig(**common, rotary_pct=partial)
    if family == "gpt2":
        return transformers.GPT2Config(
            vocab_size=card["vocab"], n_embd=hidden, n_layer=len(layers), n_head=heads,
            n_positions=card["context_limit"], n_inner=feed_forward["intermediate"])
    if family == "falcon":
        two_norms = flags.get("parallel_two_norms", False)
        return transformers.FalconConfig(
            vocab_size=card["vocab"], hidden_size=hidden, num_hidden_layers=len(layers),
            num_attention_heads=heads, num_kv_heads=mixer["kv_heads"], ffn_hidden_size=feed_forward["intermediate"],
            new_decoder_architecture=two_norms, multi_query=not two_norms, parallel_attn=True, bias=False,
            alibi=False, tie_word_embeddings=card.get("tied_head", False))
    raise SystemExit(f"{card['name']}: no transformers class is known for family {family}")


def main():
    print("card,transformers_version,parameters")
    for path in sorted(Path(sys.argv[1]).glob("*.yaml")):
        card = yaml.safe_load(path.read_text())
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(config_of(card))
        model.tie_weights()
        total = sum(p.numel() for p in model.parameters())
        print(f"{card['name']},{transformers.__version__},{total}", flush=True)


main()
