"""A Llama of transformers with the weights of a GGUF, dequantised exactly.

GGUF stores the rows of attn_q and attn_k so that rotary pairs are neighbours; transformers pairs row i with row
i + head_dim / 2. `unpermute` turns the first into the second.
"""
import numpy
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from transformers import LlamaConfig, LlamaForCausalLM

NAMES = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
         "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}


def unpermute(weight, heads):
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def tensors(reader):
    """name -> float32 array [rows, columns]."""
    return {t.name: numpy.array(dequantize(t.data, t.tensor_type), numpy.float32) for t in reader.tensors}


def llama(path):
    reader = GGUFReader(path)

    def key(name, fallback=None):
        field = reader.fields.get(f"llama.{name}")
        return fallback if field is None else field.contents()

    heads, kv_heads = key("attention.head_count"), key("attention.head_count_kv")
    stored = tensors(reader)
    config = LlamaConfig(
        hidden_size=key("embedding_length"), intermediate_size=key("feed_forward_length"),
        num_hidden_layers=key("block_count"), num_attention_heads=heads, num_key_value_heads=kv_heads,
        vocab_size=stored["token_embd.weight"].shape[0], max_position_embeddings=key("context_length"),
        rms_norm_eps=key("attention.layer_norm_rms_epsilon"), tie_word_embeddings="output.weight" not in stored,
        rope_parameters={"rope_type": "default", "rope_theta": float(key("rope.freq_base", 10000.0))})
    config._attn_implementation = "eager"
    state = {"model.embed_tokens.weight": stored["token_embd.weight"], "model.norm.weight": stored["output_norm.weight"],
             "lm_head.weight": stored.get("output.weight", stored["token_embd.weight"])}
    for layer in range(config.num_hidden_layers):
        for ours, theirs in NAMES.items():
            weight = stored[f"blk.{layer}.{ours}.weight"]
            if ours in ("attn_q", "attn_k"):
                weight = unpermute(weight, heads if ours == "attn_q" else kv_heads)
            state[f"model.layers.{layer}.{theirs}.weight"] = weight
    model = LlamaForCausalLM(config)
    missing, unexpected = model.load_state_dict({k: torch.from_numpy(numpy.ascontiguousarray(v))
                                                 for k, v in state.items()}, strict=False)
    assert not missing and not unexpected, (missing, unexpected)
    return model.eval()


@torch.no_grad()
def logits(model, ids):
    """[tokens, vocab], all positions at once."""
    return model(torch.tensor([ids])).logits[0].double().numpy()


@torch.no_grad()
def greedy(model, ids, count):
    """Ids of `count` greedy tokens and, for each, how far the best logit was above the second."""
    out, margins, cache, step = [], [], None, list(ids)
    for _ in range(count):
        answer = model(torch.tensor([step]), past_key_values=cache, use_cache=True)
        cache = answer.past_key_values
        best = torch.topk(answer.logits[0, -1].double(), 2)
        out.append(int(best.indices[0]))
        margins.append(round(float(best.values[0] - best.values[1]), 4))
        step = [out[-1]]
    return out, margins
