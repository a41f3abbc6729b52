#!/usr/bin/env python3
"""Compares the record of `cadre eval --record` with transformers: the log-likelihood of every choice, from the same ids, and the answers
that follow from it (acc, acc_norm, and whether a continuation is greedy). Of texts that were written at temperature 0: that every token is the
likeliest after those before it, or as good as that.

MODEL is the Hugging Face folder that was measured. Float32, eager attention and experts, CPU; every choice is run alone. Runs no code from
the folder and downloads nothing. For a fair comparison the record is of `--activations f32 --kv f32`, and of a model in float32.
"""

import argparse
import json
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM


def read_record(path):
    with path.open(encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    if not lines or lines[0].get("record") != "cadre eval":
        sys.exit(f"{path}: is no record of cadre eval")
    return lines[0], lines[1:]


def score(model, given, asked):
    """Sum of ln p of the asked ids, and whether each of them is the likeliest."""
    with torch.no_grad():
        logits = model(torch.tensor([given + asked[:-1]])).logits[0, len(given) - 1 :]
    log_p = torch.log_softmax(logits.double(), dim=-1)
    targets = torch.tensor(asked)
    return log_p.gather(1, targets[:, None]).sum().item(), bool((logits.argmax(-1) == targets).all())


def first_largest(values):
    return max(range(len(values)), key=lambda i: (values[i], -i))


def compare(model, item, tolerance):
    """The largest difference of this item, and what disagrees."""
    sums, largest, wrong = [], 0.0, []
    for i, choice in enumerate(item["choices"]):
        given = choice.get("prompt_ids", item.get("prompt_ids"))
        value, greedy = score(model, given, choice["ids"])
        sums.append(value)
        largest = max(largest, abs(value - choice["log_likelihood"]))
        if greedy != choice["greedy"]:
            wrong.append(f"choice {i} greedy")
    if largest > tolerance:
        wrong.append(f"log-likelihood differs by {largest:.2e}")
    if item["task"] == "bbq" and first_largest(sums) != item["answer"]:
        wrong.append("answer")
    if "acc" in item and len(sums) > 1 and item["task"] != "bbq" and not item["task"].startswith("truthfulqa"):
        if float(first_largest(sums) == item["gold"]) != item["acc"]:
            wrong.append("acc")
    if "acc_norm" in item:
        normed = [value / choice["characters"] for value, choice in zip(sums, item["choices"])]
        if float(first_largest(normed) == item["gold"]) != item["acc_norm"]:
            wrong.append("acc_norm")
    return largest, wrong


def compare_texts(model, item, tolerance):
    """By how much the logit of a written token lies below the largest, at most, and what is wrong with that."""
    largest = 0.0
    for sample in item["samples"]:
        if not sample["ids"]:
            continue
        with torch.no_grad():
            logits = model(torch.tensor([item["prompt_ids"] + sample["ids"][:-1]])).logits[0, len(item["prompt_ids"]) - 1 :]
        chosen = logits.gather(1, torch.tensor(sample["ids"])[:, None])[:, 0]
        largest = max(largest, (logits.max(-1).values - chosen).max().item())
    return largest, [f"a token lies {largest:.2e} below the likeliest"] if largest > tolerance else []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", type=pathlib.Path)
    parser.add_argument("model", type=pathlib.Path, help="config.json and safetensors")
    parser.add_argument("--items", type=int, default=200, help="look at the first so many")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="nats, of the sum of a choice")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    head, items = read_record(args.record)
    if head.get("temperature"):
        sys.exit(f"{args.record}: its texts were drawn at temperature {head['temperature']}: there is nothing to compare")
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32, attn_implementation="eager",
                                                 experts_implementation="eager", local_files_only=True).eval()
    items = items[: args.items]
    largest, bad = 0.0, 0
    for item in items:
        difference, wrong = (compare_texts if "samples" in item else compare)(model, item, args.tolerance)
        largest = max(largest, difference)
        if wrong:
            bad += 1
            print(f"{head['task']} item {item['index']}: {', '.join(wrong)}")
    what = "chosen logits" if "max_tokens" in head else "log-likelihoods"
    print(f"{head['task']}: {len(items)} items, {what} within {largest:.2e}, {bad} of them disagree")
    return 1 if bad or not items else 0


if __name__ == "__main__":
    sys.exit(main())
