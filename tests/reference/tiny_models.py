"""Tiny random checkpoints, one a family, as GGUF files with f32 weights, and their logits from transformers.

  python tiny_models.py --out FOLDER

Writes tiny_<family>.gguf (under 300 KB each), tiny_models.json (prompt ids, shapes, distances) and tiny_models.bin
(little-endian f32, the logits [tokens, vocab] of each family in the order of the json), computed in float64.
The checkpoints hold what makes a family different: llama (grouped heads, its own head), qwen2 (biases), qwen3 (norms
on q and k, wide heads), gemma2 (softcaps, sliding window, norms after), gemma3 (two rotary bases, five windows to a
full layer), phi3 (fused matrices). Softcaps and windows are small enough to matter in 24 tokens. Each file is also
run by llama.cpp; how far the two are apart is in the json, and the script fails when that is above 1e-5 (1e-3 for
Gemma, whose activation llama.cpp reads from a table of f16 values).
"""
import argparse
import json
import os
from importlib.metadata import version

import gguf
import numpy
import torch
import transformers
from llama_cpp import Llama

TOKENS, MERGES, VOCAB, CONTEXT = 24, ["t h", "h e", "i n", "th e"], 132, 128
PROMPT = "Hello, world 42\nthe in"


def rope(theta):
    return {"rope_type": "default", "rope_theta": theta}


def config(cls, **own):
    base = dict(vocab_size=VOCAB, hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, max_position_embeddings=CONTEXT, pad_token_id=0, bos_token_id=0, eos_token_id=0)
    made = cls(**(base | own))
    made._attn_implementation = "eager"
    return made


def families():
    t = transformers
    gemma = dict(hidden_activation="gelu_pytorch_tanh", sliding_window=8, rms_norm_eps=1e-6)
    return {
        "llama": (t.LlamaForCausalLM, config(t.LlamaConfig, rms_norm_eps=1e-5, rope_parameters=rope(10000.0))),
        "qwen2": (t.Qwen2ForCausalLM, config(t.Qwen2Config, rms_norm_eps=1e-6, rope_parameters=rope(1e6),
                                             tie_word_embeddings=True)),
        "qwen3": (t.Qwen3ForCausalLM, config(t.Qwen3Config, rms_norm_eps=1e-6, rope_parameters=rope(1e6), head_dim=24,
                                             num_key_value_heads=1, tie_word_embeddings=True)),
        "gemma2": (t.Gemma2ForCausalLM, config(t.Gemma2Config, head_dim=16, query_pre_attn_scalar=16,
                                               attn_logit_softcapping=2.0, final_logit_softcapping=3.0,
                                               rope_parameters=rope(10000.0), **gemma)),
        "gemma3": (t.Gemma3ForCausalLM, config(
            t.Gemma3TextConfig, hidden_size=32, head_dim=16, num_attention_heads=2, num_key_value_heads=1,
            num_hidden_layers=6, query_pre_attn_scalar=16,
            rope_parameters={"full_attention": rope(1e6), "sliding_attention": rope(10000.0)}, **gemma)),
        "phi3": (t.Phi3ForCausalLM, config(t.Phi3Config, rms_norm_eps=1e-5, rope_parameters=rope(10000.0),
                                           original_max_position_embeddings=CONTEXT)),
    }


def fill(model, seed):
    """Seeded values large enough that every part of a layer moves the logits."""
    generator = torch.Generator().manual_seed(seed)
    gemma = model.config.model_type.startswith("gemma")
    for name, value in sorted(model.named_parameters()):
        noise = torch.randn(value.shape, generator=generator)
        if "norm" in name:
            value.data = 0.2 * noise + (0.0 if gemma else 1.0)
        elif name.endswith("bias"):
            value.data = 0.3 * noise
        elif "embed_tokens" in name:
            value.data = 0.2 * noise if gemma else 0.5 * noise
        else:
            value.data = 1.5 * noise / value.shape[1] ** 0.5


def permuted(weight, heads):
    """Rows of q or k so that rotary pairs are neighbours, as the llama converter stores them."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "self_attn.qkv_proj": "attn_qkv", "self_attn.q_norm": "attn_q_norm",
         "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.gate_up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
         "post_attention_layernorm": "ffn_norm"}
GEMMA_NAMES = NAMES | {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
                       "post_feedforward_layernorm": "post_ffw_norm"}


def gguf_tensors(family, model):
    gemma = family.startswith("gemma")
    for name, value in model.state_dict().items():
        weight = value.detach().float().numpy()
        if gemma and "norm" in name:
            weight = weight + numpy.float32(1)   # the converter adds the 1 of (1 + w)
        if name == "model.embed_tokens.weight":
            yield "token_embd.weight", weight
        elif name == "model.norm.weight":
            yield "output_norm.weight", weight
        elif name == "lm_head.weight":
            if not model.config.tie_word_embeddings:
                yield "output.weight", weight
        else:
            _, _, layer, rest = name.split(".", 3)
            stem, kind = rest.rsplit(".", 1)
            ours = (GEMMA_NAMES if gemma else NAMES)[stem]
            if family == "llama" and ours in ("attn_q", "attn_k"):
                heads = model.config.num_attention_heads if ours == "attn_q" else model.config.num_key_value_heads
                weight = permuted(weight, heads)
            yield f"blk.{layer}.{ours}.{kind}", weight


def byte_characters():
    """GPT-2's printable character for each byte."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(0x100 + i) for i, b in enumerate(others)}


def write(path, family, model):
    made = model.config
    head_dim = getattr(made, "head_dim", None) or made.hidden_size // made.num_attention_heads
    writer = gguf.GGUFWriter(path, family)
    writer.add_name("tiny random checkpoint")   # llama.cpp wants Phi-3's own tokens when the name has phi3
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(made.hidden_size)
    writer.add_block_count(made.num_hidden_layers)
    writer.add_feed_forward_length(made.intermediate_size)
    writer.add_head_count(made.num_attention_heads)
    writer.add_head_count_kv(made.num_key_value_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(made.rms_norm_eps)
    writer.add_rope_dimension_count(head_dim)
    bases = made.rope_parameters
    writer.add_rope_freq_base(float(bases.get("full_attention", bases).get("rope_theta")))
    writer.add_vocab_size(VOCAB)
    if family.startswith("gemma"):
        writer.add_sliding_window(made.sliding_window)
    if family == "gemma2":
        writer.add_attn_logit_softcapping(made.attn_logit_softcapping)
        writer.add_final_logit_softcapping(made.final_logit_softcapping)
    letters = byte_characters()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([letters[b] for b in range(128)] + [m.replace(" ", "") for m in MERGES])
    writer.add_token_types([1] * VOCAB)
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)
    for name, weight in gguf_tensors(family, model):
        writer.add_tensor(name, numpy.ascontiguousarray(weight))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama_cpp_logits(path, ids):
    llm = Llama(path, n_ctx=CONTEXT, n_batch=CONTEXT, n_threads=1, logits_all=True, type_k=0, type_v=0,
                flash_attn=False, n_gpu_layers=0, verbose=False)
    llm.eval(ids)
    return numpy.array(llm.scores[: len(ids)], numpy.float64), llm.tokenize(PROMPT.encode(), add_bos=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    entries, rows = [], []
    for index, (family, (cls, made)) in enumerate(families().items()):
        model = cls(made).eval()
        fill(model, 1000 + index)
        model.tie_weights()
        path = os.path.join(arguments.out, f"tiny_{family}.gguf")
        write(path, family, model)
        ids = [int(i) for i in numpy.random.default_rng(index).integers(1, VOCAB, TOKENS)]
        with torch.no_grad():
            expected = model.double()(torch.tensor([ids])).logits[0].numpy()
        peer, prompt_ids = llama_cpp_logits(path, ids)
        distance = float(numpy.linalg.norm(peer - expected) / numpy.linalg.norm(expected))
        print(f"{family:8s} {os.path.getsize(path):7d} B  logits {expected.std():.2f} std  llama.cpp {distance:.2e}")
        assert distance < (1e-3 if family.startswith("gemma") else 1e-5), family
        entries.append({"family": family, "file": os.path.basename(path), "ids": ids, "vocab": VOCAB,
                        "prompt": PROMPT, "prompt_ids": prompt_ids, "relative_l2_llama_cpp": float(f"{distance:.3g}")})
        rows.append(expected.astype("<f4"))
    numpy.concatenate([r.reshape(-1) for r in rows]).tofile(os.path.join(arguments.out, "tiny_models.bin"))
    fixture = {"schema": "vramplan.reference.tiny_models/1", "families": entries,
               "versions": {p: version(p) for p in ("transformers", "torch", "gguf", "llama_cpp_python", "numpy")}}
    with open(os.path.join(arguments.out, "tiny_models.json"), "w") as out:
        json.dump(fixture, out, indent=None, separators=(",", ":"))
        out.write("\n")


if __name__ == "__main__":
    main()
