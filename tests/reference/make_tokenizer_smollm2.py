"""tokenizer_smollm2.json: ids of ~200 texts from llama.cpp, cross-checked with Hugging Face tokenizers.

  python make_tokenizer_smollm2.py --model SmolLM2-135M-Instruct.Q4_1.gguf --out tokenizer_smollm2.json

`ids` parse control tokens, `plain_ids` (only where they differ) do not. Texts where the two references disagree
are listed under `disagree`, with both answers and the reason, and are not asserted.
"""
import argparse
import json
from importlib.metadata import version

import jinja2.sandbox
from gguf import GGUFReader
from llama_cpp import Llama
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from texts import texts

CHATS = [
    [{"role": "user", "content": "What is the capital of France?"}],
    [{"role": "system", "content": "You answer in one word."}, {"role": "user", "content": "Is water wet?"}],
    [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello! How can I help?"},
     {"role": "user", "content": "  Count to 3.\n"}],
]


def field(reader, key):
    return reader.fields[key].contents()


def hugging_face(reader):
    tokens, types = field(reader, "tokenizer.ggml.tokens"), field(reader, "tokenizer.ggml.token_type")
    merges = [tuple(m.split(" ")) for m in field(reader, "tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False)
                                  for t, k in zip(tokens, types) if k == 3])
    return tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    reader = GGUFReader(arguments.model)
    llama = Llama(arguments.model, vocab_only=True, verbose=False)
    peer = hugging_face(reader)
    cases, disagree = [], []
    for text in texts():
        ids = llama.tokenize(text.encode(), add_bos=False, special=True)
        plain = llama.tokenize(text.encode(), add_bos=False, special=False)
        other = peer.encode(text, add_special_tokens=False).ids
        if ids != other:
            disagree.append({"text": text, "llama_cpp": ids, "hugging_face": other})
            continue
        cases.append({"text": text, "ids": ids} | ({"plain_ids": plain} if plain != ids else {}))
    template = field(reader, "tokenizer.chat_template")
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    chats = []
    for messages in CHATS:
        text = environment.from_string(template).render(messages=messages, add_generation_prompt=True)
        chats.append({"messages": messages, "text": text,
                      "ids": llama.tokenize(text.encode(), add_bos=False, special=True)})
    fixture = {"schema": "vramplan.reference.tokenizer/1", "model": reader.fields["general.name"].contents(),
               "file": arguments.model.split("/")[-1],
               "versions": {p: version(p) for p in ("llama_cpp_python", "tokenizers", "gguf", "jinja2")},
               "cases": cases, "disagree": disagree, "chats": chats}
    with open(arguments.out, "w") as out:
        json.dump(fixture, out, ensure_ascii=True, separators=(",", ":"))
        out.write("\n")
    print(f"{len(cases)} texts agreed, {len(disagree)} disagree, {len(chats)} chats")


if __name__ == "__main__":
    main()
