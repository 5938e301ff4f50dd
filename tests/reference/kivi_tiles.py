"""KIVI (Liu et al. 2024) as numpy says it, for one block of 32 tokens: keys in groups of 32 tokens a channel, values in
groups of 32 channels a token, each with a least value (zero) and a step (scale) in float16.

  /path/to/python kivi_tiles.py --out kivi_tiles.json

`k`, `v`: [32 tokens][64] as float16 bits. `kivi2`, `kivi4`: tiles of K and V as hexadecimal bytes, in the order that
kernels/cpu/packed_tile.h describes; `out`: attention in float64 of `q` over the dequantised tiles.
"""
import argparse
import json

import numpy

TOKENS, DIM, GROUP = 32, 64, 32

parser = argparse.ArgumentParser()
parser.add_argument("--out", required=True)
arguments = parser.parse_args()


def quantise(groups, bits):
    """[..., GROUP] floats: codes, scales, zeros."""
    least, most = groups.min(axis=-1), groups.max(axis=-1)
    scale = ((most - least) / numpy.float32(2**bits - 1)).astype(numpy.float16)
    zero = least.astype(numpy.float16)
    wide = scale.astype(numpy.float32)[..., None]
    with numpy.errstate(divide="ignore", invalid="ignore"):
        codes = numpy.rint((groups - zero.astype(numpy.float32)[..., None]) / wide)
    codes = numpy.where(wide > 0, codes, 0).clip(0, 2**bits - 1).astype(numpy.uint32)
    return codes, scale, zero


def tile_bytes(codes, scale, zero, bits):
    """codes [elements][lanes]: words of 32 / bits elements, lane by lane; then scales, then zeros."""
    per_word = 32 // bits
    out = b""
    for word in range(codes.shape[0] // per_word):
        for lane in range(GROUP):
            value = 0
            for i in range(per_word):
                value |= int(codes[word * per_word + i, lane]) << (8 * (i % 4) + bits * (i // 4))
            out += value.to_bytes(4, "little")
    return out + scale.tobytes() + zero.tobytes()


def values_of(codes, scale, zero):
    return zero.astype(float)[..., None] + scale.astype(float)[..., None] * codes


rng = numpy.random.default_rng(11)
channel = 1 + 8 * (rng.random(DIM) < 0.1)  # keys have a few large channels
k = (rng.standard_normal((TOKENS, DIM)) * channel).astype(numpy.float16)
v = rng.standard_normal((TOKENS, DIM)).astype(numpy.float16)
k[:, 5] = 0.75  # a channel without a range
q = rng.standard_normal(DIM).astype(numpy.float32)
fixture = {
    "versions": {"numpy": numpy.__version__},
    "k": k.view(numpy.uint16).flatten().tolist(),
    "v": v.view(numpy.uint16).flatten().tolist(),
    "q": [float(x) for x in q],
}
for bits in (2, 4):
    kc, ks, kz = quantise(k.astype(numpy.float32).T, bits)  # [channel][token]
    parts = v.astype(numpy.float32).reshape(TOKENS, DIM // GROUP, GROUP)
    vc, vs, vz = quantise(parts, bits)  # [token][part][channel]
    keys = values_of(kc, ks, kz).T
    values = values_of(vc, vs, vz).reshape(TOKENS, DIM)
    scores = keys @ q.astype(float) / numpy.sqrt(DIM)
    weights = numpy.exp(scores - scores.max())
    fixture[f"kivi{bits}"] = {
        "k": tile_bytes(kc, ks, kz, bits).hex(),
        "v": b"".join(tile_bytes(vc[:, p], vs[:, p], vz[:, p], bits) for p in range(DIM // GROUP)).hex(),
        "out": (weights / weights.sum() @ values).tolist(),
    }
with open(arguments.out, "w") as file:
    json.dump(fixture, file)
    file.write("\n")
