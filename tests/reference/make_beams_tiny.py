"""Beam search of transformers on a tiny random checkpoint, as the ground of tests/executor/beam_search_test.cc.

  python make_beams_tiny.py --out FOLDER

Writes beams_tiny_llama.json: for each case the prompt ids, the settings, and the answers with their scores, best first,
computed in float64. The checkpoint is the llama of tiny_models.py, whose weights tiny_llama.gguf holds. A case counts
only when its answers do not hang by a rounding: the script fails when float32 gives other tokens.
"""
import argparse
import json
import os

import torch
import transformers

import tiny_models

CASES = [dict(beams=3, output=12, penalty=1.0, end=None), dict(beams=4, output=20, penalty=1.0, end=None),
         dict(beams=3, output=24, penalty=1.0, end=7), dict(beams=4, output=24, penalty=0.0, end=31),
         dict(beams=2, output=40, penalty=2.0, end=31), dict(beams=5, output=16, penalty=1.0, end=54)]
PROMPT = [(i * 37 + 5) % 128 for i in range(21)]


def search(model, case):
    ends = dict(eos_token_id=case["end"]) if case["end"] is not None else dict(eos_token_id=None)
    made = model.generate(torch.tensor([PROMPT]), attention_mask=torch.ones(1, len(PROMPT), dtype=torch.long),
                          num_beams=case["beams"], num_return_sequences=case["beams"], max_new_tokens=case["output"],
                          do_sample=False, length_penalty=case["penalty"], early_stopping=False, pad_token_id=127,
                          output_scores=True, return_dict_in_generate=True, use_cache=True, **ends)
    answers = []
    for row, score in zip(made.sequences, made.sequences_scores):
        ids = row[len(PROMPT):].tolist()
        if case["end"] is not None and case["end"] in ids:
            ids = ids[:ids.index(case["end"]) + 1]
        answers.append(dict(ids=ids[:case["output"]], score=float(score)))
    return answers


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    out = parser.parse_args().out
    cls, config = tiny_models.families()["llama"]
    models = []
    for dtype in (torch.float32, torch.float64):
        model = cls(config).eval()
        tiny_models.fill(model, 1000)   # the seed of tiny_models.main
        model.generation_config.eos_token_id = None
        models.append(model.to(dtype))
    cases = []
    for case in CASES:
        rough, exact = (search(model, case) for model in models)
        if [a["ids"] for a in rough] != [a["ids"] for a in exact]:
            raise SystemExit(f"{case}: hangs by a rounding")
        cases.append(case | dict(answers=exact))
        print(case, [len(a["ids"]) for a in exact], exact[0]["score"])
    made = dict(made_by="tests/reference/make_beams_tiny.py", transformers=transformers.__version__,
                torch=torch.__version__, model="tiny_llama.gguf", prompt=PROMPT, cases=cases)
    with open(os.path.join(out, "beams_tiny_llama.json"), "w") as file:
        json.dump(made, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
