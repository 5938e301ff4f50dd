#!/usr/bin/env python3
"""Asks other planners the questions vramplan is asked, in one run, and writes what all of them said.

usage: beside_planners.py --truth TRUTH --build BUILD [--venv DIR] [--record FILE] [--readme README.md] [--every N]

Peers come from PyPI into a virtual environment of their own (--venv, made when it is not there): aiconfigurator,
hf-mem, llm-analysis. Questions, and the truth beside them:
  serving   TTFT and TPOT of the held-out half of serving_cases.csv (aiconfigurator publishes these rows as its own
            validation set; vramplan was fitted to the other half)
  static    tokens a second of Llama-2-7B in TensorRT-LLM 0.6.1, throughput_cases.csv (llm-analysis, vramplan)
  memory    bytes of weights and of a cache: the published parameter count, and the arithmetic of the cache
A peer that cannot answer is recorded with its own words. Times are wall seconds a question, loading included once.
"""
import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import time

PEERS = ["aiconfigurator==0.12.0", "hf-mem==0.5.6", "llm-analysis==0.2.2"]
AIC_MODELS = {
    "llama-3.1-8b": "meta-llama/Meta-Llama-3.1-8B", "llama-3.1-70b": "meta-llama/Meta-Llama-3.1-70B",
    "qwen3-32b": "Qwen/Qwen3-32B", "qwen3-235b-a22b": "Qwen/Qwen3-235B-A22B", "deepseek-v3": "deepseek-ai/DeepSeek-V3",
    "deepseek-r1": "deepseek-ai/DeepSeek-R1", "gpt-oss-120b": "openai/gpt-oss-120b",
    "minimax-m2": "MiniMaxAI/MiniMax-M2.5", "kimi-k2": "moonshotai/Kimi-K2.5"}

AIC_WORKER = r"""
import json, logging, sys, time, warnings
warnings.filterwarnings("ignore"); logging.disable(logging.CRITICAL)
from aiconfigurator.cli.api import cli_estimate
for line in sys.stdin:
    question = json.loads(line)
    started = time.time()
    try:
        r = cli_estimate(**question["ask"])
        answer = {"ttft": r.ttft / 1e3, "tpot": r.tpot / 1e3}
    except BaseException as error:
        answer = {"error": type(error).__name__ + ": " + str(error).splitlines()[0][:140]}
    answer.update(id=question["id"], seconds=time.time() - started)
    print("ANSWER " + json.dumps(answer), flush=True)
"""

LLM_ANALYSIS_WORKER = r"""
import json, logging, sys, time
logging.disable(logging.CRITICAL)
from llm_analysis.analysis import infer
for line in sys.stdin:
    question = json.loads(line)
    started = time.time()
    try:
        r = infer(**question["ask"])
        keep = ("weight_memory_per_gpu", "kv_cache_memory_per_gpu", "total_tokens_per_sec", "total_latency")
        answer = {k: r[k] for k in keep if k in r}
    except BaseException as error:
        answer = {"error": type(error).__name__ + ": " + str(error).splitlines()[0][:140]}
    answer.update(id=question["id"], seconds=time.time() - started)
    print("ANSWER " + json.dumps(answer), flush=True)
"""


def make_venv(folder):
    python = os.path.join(folder, "bin", "python")
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", *PEERS], check=True)
    listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], capture_output=True, text=True, check=True)
    names = [p.split("==")[0] for p in PEERS]
    return python, {p["name"]: p["version"] for p in json.loads(listed.stdout) if p["name"] in names}


def ask(python, worker, questions, limit_s):
    """Answers by id. The peer's chatter is dropped; a peer that dies leaves its questions unanswered."""
    environment = dict(os.environ, HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    process = subprocess.run([python, "-c", worker], input="".join(json.dumps(q) + "\n" for q in questions),
                             capture_output=True, text=True, timeout=limit_s, env=environment)
    lines = [json.loads(l[7:]) for l in process.stdout.splitlines() if l.startswith("ANSWER ")]
    return {a["id"]: a for a in lines}


def serving_rows(build, truth):
    started = time.time()
    out = subprocess.run([f"{build}/serving_accuracy", truth, "bench/accuracy", "--terms"], capture_output=True,
                         text=True, check=True).stdout
    rows = list(csv.DictReader(out.splitlines()))
    return rows, (time.time() - started) / len(rows)


def serving(python, build, truth, every):
    rows, our_seconds = serving_rows(build, truth)
    published = {r["id"]: r for r in csv.DictReader(open(f"{truth}/serving_cases.csv"))}
    held = [r for r in rows if r["half"] == "held"]
    first = {}
    for r in held:
        first.setdefault(r["question"], r["id"])
    questions = []
    for r in held:
        if first[r["question"]] != r["id"]:
            continue
        p = published[r["id"]]
        fp8_cache = r["engine"] == "trtllm" and r["quantization"] != "none"
        asked = dict(model_path=AIC_MODELS[r["model"]], system_name=r["system"], mode="agg", backend_name=r["engine"],
                     isl=int(p["isl"]), osl=int(p["osl"]), batch_size=int(float(r["concurrency"])),
                     tp_size=int(r["tp"]), moe_tp_size=int(p["moe_tp_size"] or 1),
                     moe_ep_size=int(p["moe_ep_size"] or 1), free_gpu_memory_fraction=0.9)
        # Its own words for formats, from the row; gpt-oss runs its published mxfp4 experts.
        gemm = p["gemm_quant_mode"]
        if r["model"] == "gpt-oss-120b":
            asked["moe_quant_mode"] = "w4a16_mxfp4"
        elif gemm == "int4_wo":
            asked["moe_quant_mode"] = "int4_wo"
        else:
            asked["gemm_quant_mode"] = r["quantization"] if r["quantization"] != "none" else "bfloat16"
            if gemm:
                asked["moe_quant_mode"] = asked["gemm_quant_mode"]
        if fp8_cache:
            asked["kvcache_quant_mode"] = "fp8"
        questions.append({"id": r["id"], "ask": asked})
    questions.sort(key=lambda q: (q["ask"]["system_name"], q["ask"]["backend_name"], q["ask"]["model_path"]))
    # Every n-th question of the sorted list, where asking all takes too long.
    asked_ids = {q["id"] for q in questions[::every]}
    answers = ask(python, AIC_WORKER, questions[::every], 3000)
    out = []
    for r in held:
        if first[r["question"]] not in asked_ids:
            continue
        peer = answers.get(first[r["question"]], {"error": "no answer"})
        out.append(dict(id=r["id"], contradicted=r["contradicts"], engine=r["engine"], system=r["system"],
                        model=r["model"], truth=dict(ttft=float(r["ttft"]), tpot=float(r["tpot"])),
                        vramplan=dict(ttft=float(r["ttft_predicted"]), tpot=float(r["tpot_predicted"])),
                        aiconfigurator={k: v for k, v in peer.items() if k != "id"}))
    return out, our_seconds


STATIC = [("T1400", "a100-sxm-80gb", "w16a16e16", 384, 128, 128), ("T1401", "a100-sxm-80gb", "w16a16e16", 60, 128, 2048),
          ("T1402", "a100-sxm-80gb", "w16a16e16", 52, 2048, 128), ("T1376", "h100-sxm-80gb", "w8a8e16", 768, 128, 128),
          ("T1377", "h100-sxm-80gb", "w8a8e16", 112, 128, 2048), ("T1378", "h100-sxm-80gb", "w8a8e16", 80, 2048, 128)]


def static(python, build, truth):
    published = {r["id"]: r for r in csv.DictReader(open(f"{truth}/throughput_cases.csv"))}
    questions = [{"id": i, "ask": dict(model_name="NousResearch_Llama-2-7b-hf", gpu_name=device, dtype_name=dtype,
                                       batch_size_per_gpu=batch, seq_len=length, num_tokens_to_generate=output)}
                 for i, device, dtype, batch, length, output in STATIC]
    answers = ask(python, LLM_ANALYSIS_WORKER, questions, 300)
    out = []
    for i, device, dtype, batch, length, output in STATIC:
        command = [f"{build}/vramplan", "plan", "llama-2-7b", "--device", device, "--engine", "trtllm", "--context",
                   str(length + output), "--output-tokens", str(output), "--input-tokens", str(length),
                   "--concurrency", str(batch), "--max-num-seqs", str(batch), "--json"]
        if dtype.startswith("w8"):
            command += ["--quantization", "fp8", "--engine-kv-cache-dtype", "fp8"]
        started = time.time()
        plan = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
        seconds = time.time() - started
        peer = answers.get(i, {"error": "no answer"})
        if "total_latency" in peer:
            peer["tokens_per_second"] = batch * output / peer["total_latency"]
        out.append(dict(id=i, truth=float(published[i]["value"]), llm_analysis=peer,
                        vramplan=dict(tokens_per_second=plan["serving"]["tokens_per_second"], seconds=seconds)))
    return out


def memory(python, build):
    """Llama-2-7B in 16 bits, 4,096 tokens: 6,738,415,616 parameters as published; the cache is 2 x 32 x 4096 x 2 bytes a
    token."""
    exact = dict(weight_bytes=2 * 6738415616, kv_bytes=4096 * 2 * 32 * 4096 * 2)
    started = time.time()
    plan = json.loads(subprocess.run([f"{build}/vramplan", "plan", "llama-2-7b", "--device", "a100-sxm-80gb", "--context",
                                      "4k", "--json"], capture_output=True, text=True).stdout)
    ours = dict(weight_bytes=plan["totals"]["weight_bytes"], kv_bytes=plan["totals"]["kv_bytes"],
                seconds=time.time() - started)
    question = {"id": "llama-2-7b", "ask": dict(model_name="NousResearch_Llama-2-7b-hf", gpu_name="a100-sxm-80gb",
                                                dtype_name="w16a16e16", seq_len=4095, num_tokens_to_generate=1)}
    peer = ask(python, LLM_ANALYSIS_WORKER, [question], 300).get("llama-2-7b", {"error": "no answer"})
    started = time.time()
    hub = subprocess.run([os.path.join(os.path.dirname(python), "hf-mem"), "--model-id", "NousResearch/Llama-2-7b-hf",
                          "--experimental", "--max-model-len", "4096", "--json-output"], capture_output=True, text=True)
    if hub.returncode == 0:
        hf_mem = dict(output=json.loads(hub.stdout))
    else:
        last = (hub.stderr.strip().splitlines() or ["no answer"])[-1]
        hf_mem = dict(error=f"reads from the Hugging Face Hub only: {last[:120]}")
    return dict(question="llama-2-7b, 16 bits, 4096 tokens", truth=exact, vramplan=ours, llm_analysis=peer,
                hf_mem=dict(hf_mem, seconds=time.time() - started))


def mape(rows, who, key):
    errors = [abs(r[who][key] / r["truth"][key] - 1) for r in rows if key in r[who]]
    return (100 * statistics.mean(errors), 100 * statistics.median(errors)) if errors else (None, None)


def summary(record):
    lines = ["| question | planner | answered | TPOT mean error | median | TTFT mean | median | seconds a question |",
             "|---|---|--:|--:|--:|--:|--:|--:|"]
    rows = record["serving"]
    both = [r for r in rows if "tpot" in r["aiconfigurator"]]
    calm = [r for r in both if not r["contradicted"]]
    for name, some in (("held-out serving rows that both answer", both), ("the same, not contradicted", calm),
                       ("all held-out serving rows", rows)):
        for who in ("vramplan", "aiconfigurator"):
            answered = [r for r in some if "tpot" in r[who]]
            if not answered or (name.startswith("all") and who == "aiconfigurator"):
                continue
            tpot, ttft = mape(answered, who, "tpot"), mape(answered, who, "ttft")
            seconds = record["vramplan_serving_seconds"] if who == "vramplan" else statistics.mean(
                r[who]["seconds"] for r in answered)
            lines.append(f"| {name} | {who} | {len(answered)} of {len(some)} | {tpot[0]:.1f} % | {tpot[1]:.1f} % | "
                         f"{ttft[0]:.1f} % | {ttft[1]:.1f} % | {seconds:.3f} |")
    lines += ["", "| static batch, tokens a second | truth | vramplan | llm-analysis |", "|---|--:|--:|--:|"]
    for r in record["static"]:
        peer = r["llm_analysis"].get("tokens_per_second")
        lines.append(f"| {r['id']} | {r['truth']:.0f} | {r['vramplan']['tokens_per_second']:.0f} | "
                     f"{'none' if peer is None else format(peer, '.0f')} |")
    m = record["memory"]
    lines += ["", f"| {m['question']} | weights, bytes | cache, bytes |", "|---|--:|--:|",
              f"| truth | {m['truth']['weight_bytes']:,} | {m['truth']['kv_bytes']:,} |",
              f"| vramplan | {m['vramplan']['weight_bytes']:,} | {m['vramplan']['kv_bytes']:,} |"]
    peer = m["llm_analysis"]
    if "weight_memory_per_gpu" in peer:
        lines.append(f"| llm-analysis | {peer['weight_memory_per_gpu']:,.0f} | {peer['kv_cache_memory_per_gpu']:,.0f} |")
    lines.append("| hf-mem | " + m["hf_mem"].get("error", "see the record") + " | |")
    return "\n".join(lines)


def compact(record):
    """JSON with one question a line."""
    rows = ",\n  ".join(json.dumps(row) for row in record["serving"])
    return json.dumps(dict(record, serving=[]), indent=1).replace('"serving": []', '"serving": [\n  ' + rows + "]", 1) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth")
    parser.add_argument("--build")
    parser.add_argument("--venv", default="build/peers-venv")
    parser.add_argument("--record")
    parser.add_argument("--every", type=int, default=1, help="ask every n-th serving question only")
    parser.add_argument("--readme")
    parser.add_argument("--from", dest="kept", help="write the table of an earlier record and ask nobody")
    options = parser.parse_args()
    if options.kept:
        record = json.load(open(options.kept))
    elif options.truth and options.build:
        python, versions = make_venv(options.venv)
        record = dict(schema="vramplan.beside_planners/1", date=time.strftime("%Y-%m-%d"), peers=versions)
        record["serving"], record["vramplan_serving_seconds"] = serving(
            python, options.build, options.truth, options.every)
        record["every"] = options.every
        record["static"] = static(python, options.build, options.truth)
        record["memory"] = memory(python, options.build)
    else:
        parser.error("give --truth and --build, or --from")
    if options.record:
        with open(options.record, "w") as file:
            file.write(compact(record))
    table = summary(record)
    print(table)
    if options.readme:
        text = open(options.readme).read()
        begin, end = "<!-- beside_planners -->\n", "<!-- end -->\n"
        before, rest = text.split(begin)
        after = rest.split(end)[1]
        head = f"{record['date']}, " + ", ".join(f"{k} {v}" for k, v in sorted(record["peers"].items())) + "."
        if record.get("every", 1) > 1:
            head += f" Every {record['every']}th serving question, by device, engine and model."
        head += "\n\n"
        with open(options.readme, "w") as file:
            file.write(before + begin + head + table + "\n" + end + after)


if __name__ == "__main__":
    main()
