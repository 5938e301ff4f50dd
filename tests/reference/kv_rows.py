"""Encodings of cache rows by implementations not written here: torch (float8_e4m3fn) and gguf (Q8_0, Q4_0).

  python kv_rows.py --out kv_rows.json

`f8_values`: the 256 codes as numbers (null: NaN). `rows`: 64 floats each, with the bytes gguf makes of them and the f8
codes torch makes of them (saturated at 448 first, as a cache is).
"""
import argparse
import json
import math
from importlib.metadata import version

import gguf
import numpy
import torch

parser = argparse.ArgumentParser()
parser.add_argument("--out", required=True)
arguments = parser.parse_args()

codes = torch.arange(256, dtype=torch.int16).to(torch.uint8).view(torch.float8_e4m3fn).float().tolist()
rng = numpy.random.default_rng(7)
rows = [
    rng.standard_normal(64), rng.standard_normal(64) * 1e-3, rng.standard_normal(64) * 300, numpy.zeros(64),
    numpy.linspace(-1, 1, 64), rng.standard_normal(64) * numpy.where(numpy.arange(64) % 9 == 0, 50, 0.1),
]
out = []
for row in rows:
    x = row.astype(numpy.float32)
    encoded = {name: gguf.quants.quantize(x, kind).view(numpy.uint8).tolist()
               for name, kind in (("q8_0", gguf.GGMLQuantizationType.Q8_0), ("q4_0", gguf.GGMLQuantizationType.Q4_0))}
    f8 = torch.tensor(x).clamp(-448, 448).to(torch.float8_e4m3fn).view(torch.uint8).tolist()
    out.append({"x": [float(v) for v in x], "f8_e4m3": f8, **encoded})
versions = {"torch": torch.__version__, "gguf": version("gguf")}
with open(arguments.out, "w") as file:
    json.dump({"versions": versions, "f8_values": [None if math.isnan(v) else v for v in codes], "rows": out}, file)
    file.write("\n")
