"""The same model with every tensor dequantised to f32, as a GGUF.

  python export_f32_gguf.py --model SmolLM2-135M-Instruct.Q4_1.gguf --out SmolLM2-135M-Instruct.F32.gguf

Metadata is copied (general.file_type becomes ALL_F32); names, shapes and the order of rows stay. For the 135M model
the file has some 540 MB; it is not kept in the repository. Its logits are logits_smollm2_f32.* of
make_logits_smollm2.py: the weights are the same numbers. With --check the file is read again and compared.
"""
import argparse
import os

import gguf
import numpy
from gguf.quants import dequantize


def copy_metadata(reader, writer):
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        kind = field.types[0]
        element = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), kind, sub_type=element)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    reader = gguf.GGUFReader(arguments.model)
    writer = gguf.GGUFWriter(arguments.out, reader.fields["general.architecture"].contents(), use_temp_file=False)
    copy_metadata(reader, writer)
    for tensor in reader.tensors:
        shape = [int(n) for n in reversed(tensor.shape)]
        writer.add_tensor_info(tensor.name, shape, numpy.dtype(numpy.float32), 4 * int(numpy.prod(shape)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in reader.tensors:   # one tensor in memory at a time
        writer.write_tensor_data(numpy.ascontiguousarray(dequantize(tensor.data, tensor.tensor_type), numpy.float32))
    writer.close()
    print(f"{os.path.getsize(arguments.out)} bytes, {len(reader.tensors)} tensors")
    if arguments.check:
        again = {t.name: t for t in gguf.GGUFReader(arguments.out).tensors}
        for tensor in reader.tensors:
            assert numpy.array_equal(again[tensor.name].data, dequantize(tensor.data, tensor.tensor_type)), tensor.name
        print("every tensor reads back equal")


if __name__ == "__main__":
    main()
