"""pre_split.json: the pieces of ~200 texts under each published pre-split, from Hugging Face tokenizers.

  python make_pre_split.py --out pre_split.json

The patterns are those of the models' tokenizer.json files. A piece list is stored as byte lengths.
Source of the names and of their order of application: llama.cpp, src/llama-vocab.cpp.
"""
import argparse
import json
from importlib.metadata import version

from tokenizers import Regex, pre_tokenizers

from texts import texts

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
LEAD, ENDING = r"[^\r\n\p{L}\p{N}]?", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
TAIL_SLASH = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
DEEPSEEK3 = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"""
             r""" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""")
PATTERNS = {
    "gpt-2": [GPT2],
    "smollm": [r"\p{N}", GPT2],
    "llama-bpe": [WORDS + r"|\p{N}{1,3}|" + TAIL],
    "qwen2": [WORDS + r"|\p{N}|" + TAIL],
    "gpt-4o": [f"{LEAD}{UPPER}*{LOWER}+{ENDING}|{LEAD}{UPPER}+{LOWER}*{ENDING}|" + r"\p{N}{1,3}|" + TAIL_SLASH],
    "tekken": [f"{LEAD}{UPPER}*{LOWER}+|{LEAD}{UPPER}+{LOWER}*|" + r"\p{N}|" + TAIL_SLASH],
    "default": [r"[\p{P}$+<=>^~|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    "falcon": [r"[\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", r"\p{N}"],
    "deepseek-v3": [r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", DEEPSEEK3],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    sample = texts()
    lengths = {}
    for name, patterns in PATTERNS.items():
        splitter = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(p), "isolated") for p in patterns])
        lengths[name] = [[len(piece.encode()) for piece, _ in splitter.pre_tokenize_str(text)] for text in sample]
    fixture = {"schema": "vramplan.reference.pre_split/1", "versions": {"tokenizers": version("tokenizers")},
               "texts": sample, "piece_bytes": lengths}
    with open(arguments.out, "w") as out:
        json.dump(fixture, out, ensure_ascii=True, separators=(",", ":"))
        out.write("\n")


if __name__ == "__main__":
    main()
