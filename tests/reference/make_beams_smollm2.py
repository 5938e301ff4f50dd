"""Beam search of transformers on a real model, as the ground of tests/parity/parity_test.cc.

  python make_beams_smollm2.py --model SmolLM2-135M-Instruct.Q4_1.gguf --out FOLDER

Writes beams_smollm2.json: for each case the settings and the answers with their scores, best first. The weights are
those of the file, dequantised exactly to f32 (gguf_torch.py). Prompts are those of logits_smollm2_f32.json. A case
counts only when its answers do not hang by a rounding: the script fails when float64 gives other tokens.
"""
import argparse
import json
import os

import torch
import transformers

import gguf_torch

CASES = [dict(prompt=0, beams=3, output=12, penalty=1.0, end=None), dict(prompt=0, beams=4, output=10, penalty=1.0, end=30)]


def search(model, ids, case):
    made = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                          num_beams=case["beams"], num_return_sequences=case["beams"], max_new_tokens=case["output"],
                          do_sample=False, length_penalty=case["penalty"], early_stopping=False, pad_token_id=2,
                          output_scores=True, return_dict_in_generate=True, use_cache=True, eos_token_id=case["end"])
    answers = []
    for row, score in zip(made.sequences, made.sequences_scores):
        answer = row[len(ids):].tolist()
        if case["end"] is not None and case["end"] in answer:
            answer = answer[:answer.index(case["end"]) + 1]
        answers.append(dict(ids=answer[:case["output"]], score=float(score)))
    return answers


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "logits_smollm2_f32.json")) as file:
        prompts = json.load(file)["prompts"]
    model = gguf_torch.llama(arguments.model)
    model.generation_config.eos_token_id = None
    cases = []
    for case in CASES:
        ids = prompts[case["prompt"]]["ids"]
        rough = search(model.to(torch.float32), ids, case)
        exact = search(model.to(torch.float64), ids, case)
        if [a["ids"] for a in rough] != [a["ids"] for a in exact]:
            raise SystemExit(f"{case}: hangs by a rounding")
        cases.append(dict(case, prompt=ids, answers=exact))
        print(case, [len(a["ids"]) for a in exact], exact[0])
    made = dict(made_by="tests/reference/make_beams_smollm2.py", transformers=transformers.__version__,
                torch=torch.__version__, model=os.path.basename(arguments.model), cases=cases)
    with open(os.path.join(arguments.out, "beams_smollm2.json"), "w") as file:
        json.dump(made, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
