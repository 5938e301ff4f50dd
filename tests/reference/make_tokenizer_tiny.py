"""tokenizer_tiny.json: two small vocabularies trained on texts.py and the ids llama.cpp gives with them.

  python make_tokenizer_tiny.py --out tokenizer_tiny.json

`bpe`: byte-level, 500 tokens, ids for several pre-splits (llama.cpp's own patterns stop at ASCII letters for some,
so only texts on which it and Hugging Face tokenizers agree are kept; the count that was dropped is recorded).
`sentencepiece`: bytes, characters and merges with scores. Both have control and user-defined tokens.
"""
import argparse
import json
import os
import tempfile
from importlib.metadata import version

import gguf
from llama_cpp import Llama
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from make_pre_split import PATTERNS
from texts import texts

CONTROL, USER = ["<s>", "</s>", "<|turn|>"], ["<tool>", "<tool_call>"]


def reference_ids(vocabulary, sample, pre):
    """Ids of llama.cpp with a vocabulary-only GGUF: [with special tokens parsed, without]."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "vocabulary.gguf")
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_tokenizer_model(vocabulary["model"])
        if pre:
            writer.add_tokenizer_pre(pre)
        writer.add_token_list(vocabulary["tokens"])
        writer.add_token_types(vocabulary["types"])
        if "scores" in vocabulary:
            writer.add_token_scores(vocabulary["scores"])
        else:
            writer.add_token_merges(vocabulary["merges"])
        for key, name in (("bos", "bos"), ("eos", "eos"), ("unknown", "unk")):
            if key in vocabulary:
                getattr(writer, f"add_{name}_token_id")(vocabulary[key])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        llama = Llama(path, vocab_only=True, verbose=False)
        return [[llama.tokenize(t.encode(), add_bos=False, special=s) for t in sample] for s in (True, False)]


def train_bpe(sample):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(sample, trainers.BpeTrainer(vocab_size=495, initial_alphabet=alphabet,
                                                              show_progress=False))
    learned = json.loads(tokenizer.to_str())["model"]
    tokens = [t for t, _ in sorted(learned["vocab"].items(), key=lambda item: item[1])]
    special = CONTROL + USER
    return {"model": "gpt2", "tokens": tokens + special, "types": [1] * len(tokens) + [3] * 3 + [4] * 2,
            "merges": [" ".join(m) for m in learned["merges"]], "bos": len(tokens), "eos": len(tokens) + 1}


def peer_ids(vocabulary, sample, patterns):
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(vocabulary["tokens"])},
                                     merges=[tuple(m.split(" ")) for m in vocabulary["merges"]]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(p), "isolated") for p in patterns] +
        [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in CONTROL + USER])
    return [tokenizer.encode(t, add_special_tokens=False).ids for t in sample]


def train_sentencepiece(sample):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.train_from_iterator(sample[:120], trainers.BpeTrainer(vocab_size=420, show_progress=False))
    learned = json.loads(tokenizer.to_str())["model"]
    merged = ["".join(m) for m in learned["merges"]]
    letters = [t for t in learned["vocab"] if len(t) == 1 and (t.isascii() and t.isprintable() or t == "\u2581")]
    pieces = [t for t in merged if set(t) <= set(letters)]
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + pieces + sorted(letters) + USER
    types = [2, 3, 3] + [6] * 256 + [1] * (len(pieces) + len(letters)) + [4] * 2
    scores = [0.0] * 259 + [-float(i) for i in range(len(pieces) + len(letters))] + [0.0] * 2
    return {"model": "llama", "tokens": tokens, "types": types, "scores": scores, "bos": 1, "eos": 2, "unknown": 0}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    sample = texts() + ["<s>a</s>", "x<tool>y", "<tool_call><tool>", "<|turn|>user <|turn|>", " <tool> b"]
    bpe, piece = train_bpe(sample), train_sentencepiece(sample)
    cases, dropped = {}, {}
    for pre in ("smollm", "gpt-2", "qwen2", "llama-bpe", "default", "falcon", "starcoder"):
        parsed, plain = reference_ids(bpe, sample, pre)
        peers = peer_ids(bpe, sample, PATTERNS.get(pre, PATTERNS["smollm"]))
        kept = [i for i in range(len(sample)) if parsed[i] == peers[i]]
        cases[pre] = [{"text": i, "ids": parsed[i]} | ({"plain_ids": plain[i]} if plain[i] != parsed[i] else {})
                      for i in kept]
        dropped[pre] = len(sample) - len(kept)
    parsed, plain = reference_ids(piece, sample, "")
    pieces = [{"text": i, "ids": p} | ({"plain_ids": q} if p != q else {}) for i, (p, q) in enumerate(zip(parsed, plain))]
    fixture = {"schema": "vramplan.reference.tokenizer_tiny/1",
               "versions": {p: version(p) for p in ("llama_cpp_python", "tokenizers", "gguf")},
               "texts": sample, "bpe": bpe | {"cases": cases, "dropped": dropped},
               "sentencepiece": piece | {"cases": {"": pieces}}}
    with open(arguments.out, "w") as out:
        json.dump(fixture, out, ensure_ascii=True, separators=(",", ":"))
        out.write("\n")
    print("dropped where the two references differ:", dropped)


if __name__ == "__main__":
    main()
