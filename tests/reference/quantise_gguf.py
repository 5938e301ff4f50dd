"""Writes tests/kernels/cpu/quantised_rows.txt: f32 rows and what published encoders make of them.

Needs the gguf Python package, whose quantisation is the reference (0.19.0). A line of the output is
    <dtype> <f32 values as hex bit patterns, comma separated> <bytes of the row as hex>
Rows: normal values, a block of zeros, one that is all alike, ties of rounding and of magnitude, one sign, wide.
Run: python3 tests/reference/quantise_gguf.py > tests/kernels/cpu/quantised_rows.txt
"""
import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import quantize

NAMES = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]


def rows(rng):
    normal = rng.normal(0, 0.02, (4, 32))
    zeros, alike = np.zeros(32), np.full(32, -0.37)
    ties = np.concatenate([np.arange(-8, 8) + 0.5, np.arange(-8, 8)])  # M = 8: quotients that end in a half
    ties_127 = np.concatenate([np.arange(16) * 7 + 0.5, [-127.0], -(np.arange(15) * 8 + 0.5)])
    pair = np.concatenate([[0.5, -0.5], rng.uniform(-0.5, 0.5, 30)])  # which of the two is the largest
    pair_back = np.concatenate([[-0.5, 0.5], rng.uniform(-0.5, 0.5, 30)])
    positive, negative = rng.uniform(0.1, 3, 32), -rng.uniform(0.1, 3, 32)
    wide = rng.normal(0, 1, 32) * 10.0 ** rng.integers(-6, 4, 32)
    small = rng.normal(0, 1e-7, 32)
    blocks = [*normal, zeros, alike, ties, ties_127, pair, pair_back, positive, negative, wide, small]
    return np.array(blocks, dtype=np.float32).reshape(-1, 64)


def main():
    table = rows(np.random.default_rng(20261122))
    for name in NAMES:
        for row in table:
            made = quantize(row.reshape(1, -1), GGMLQuantizationType[name])
            bits = ",".join(f"{v:08x}" for v in row.view(np.uint32))
            print(name.lower(), bits, made.tobytes().hex())


if __name__ == "__main__":
    main()
