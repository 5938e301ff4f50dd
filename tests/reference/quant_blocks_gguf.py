"""Writes tests/kernels/cpu/quant_blocks.txt: random quantised blocks and their f32 values.

Needs the gguf Python package, whose dequantisation is the reference. A line of the output is
    <dtype> <bytes of one row as hex> <f32 values as hex bit patterns, comma separated>
Run: python3 tests/reference/quant_blocks_gguf.py > tests/kernels/cpu/quant_blocks.txt
"""
import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

NAMES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
# Byte offsets of the f16 fields, which must be finite numbers of a likely size.
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
          "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}


def random_row(rng, name, blocks):
    size = GGML_QUANT_SIZES[GGMLQuantizationType[name]][1]
    row = rng.integers(0, 256, (blocks, size), dtype=np.uint8)
    for offset in HALVES[name]:
        half = rng.normal(0, 0.02, blocks).astype(np.float16)
        row[:, offset:offset + 2] = half.view(np.uint8).reshape(blocks, 2)
    return row.reshape(1, -1)


def main():
    rng = np.random.default_rng(20261121)
    for name in NAMES:
        kind = GGMLQuantizationType[name]
        blocks = 3 if GGML_QUANT_SIZES[kind][0] == 32 else 1
        for _ in range(2):
            row = random_row(rng, name, blocks)
            values = dequantize(row, kind).astype(np.float32).reshape(-1)
            bits = ",".join(f"{v:08x}" for v in values.view(np.uint32))
            print(name.lower(), row.tobytes().hex(), bits)


if __name__ == "__main__":
    main()
