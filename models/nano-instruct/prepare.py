#!/usr/bin/env python3
"""Writes the JSON lines that sft.json and dpo.json train on, from published sets whose licences allow passing on.

Usage: prepare.py SETS OUT

SETS holds one folder per set: dolly (CC-BY-SA-3.0), t0_mix (open licences, per record), self_instruct (Apache-2.0), gsm8k_train (MIT),
dolly_hhrlhf (CC-BY-SA-3.0, MIT), hh_rlhf (MIT), llmbar (MIT), pandalm (Apache-2.0); files of JSON lines, .zst too (then the program
zstd is needed). Leaves out what is too long for a model of 512 tokens and repeated prompts; shortens nothing.
"""

import json
import pathlib
import re
import subprocess
import sys

MAX_BYTES = 1400  # of a whole conversation: about 512 tokens of nano
ALPACA = re.compile(r"### Instruction:\n(.*?)\n\n### Response:\n?$", re.DOTALL)
CALCULATOR = re.compile(r"<<[^>]*>>")


def records(path):
    """Every line of PATH.jsonl or PATH.jsonl.zst as an object."""
    plain, packed = path.with_name(path.name + ".jsonl"), path.with_name(path.name + ".jsonl.zst")
    if plain.exists():
        text = plain.read_text(encoding="utf-8")
    else:
        text = subprocess.run(["zstd", "-dc", str(packed)], check=True, capture_output=True).stdout.decode("utf-8")
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def joined(*parts):
    return "\n\n".join(part.strip() for part in parts if part and part.strip())


def dolly(sets):
    for r in records(sets / "dolly" / "dolly-15k"):
        yield joined(r["instruction"], r.get("context")), r["response"]


def tasks(sets):
    for r in records(sets / "t0_mix" / "t0_mix"):
        yield r["instruction"], r["response"]
    for name in ("seed_tasks", "user_oriented_instructions"):
        for r in records(sets / "self_instruct" / name):
            for instance in r["instances"]:
                yield joined(r["instruction"], instance["input"]), instance["output"]


def gsm8k(sets):
    for r in records(sets / "gsm8k_train" / "gsm8k_train"):
        steps, _, answer = CALCULATOR.sub("", r["answer"]).rpartition("####")
        yield r["question"], f"{steps.strip()}\nThe answer is {answer.strip()}."


def hhrlhf(sets):
    for r in records(sets / "dolly_hhrlhf" / "dolly_hhrlhf_small"):
        found = ALPACA.search(r["prompt"])
        if found:
            yield found.group(1), r["response"]


def turns(transcript):
    """[(role, text)] of "\\n\\nHuman: ...\\n\\nAssistant: ..."."""
    parts = re.split(r"\n\n(Human|Assistant):", transcript)[1:]
    return [("user" if who == "Human" else "assistant", text.strip()) for who, text in zip(parts[::2], parts[1::2])]


def harmless(sets):
    for r in records(sets / "hh_rlhf" / "harmless-base-test"):
        chosen, rejected = turns(r["chosen"]), turns(r["rejected"])
        if len(chosen) < 2 or chosen[:-1] != rejected[:-1] or chosen[-1] == rejected[-1]:
            continue
        roles = [role for role, _ in chosen]
        in_turn = all(role == ("user", "assistant")[i % 2] for i, role in enumerate(roles)) and roles[-1] == "assistant"
        if in_turn and rejected[-1][0] == "assistant" and all(text for _, text in [*chosen, rejected[-1]]):
            yield [{"role": role, "content": text} for role, text in chosen[:-1]], chosen[-1][1], rejected[-1][1]


def instructions(sets):
    for r in records(sets / "llmbar" / "llmbar"):
        yield r["prompt"].strip(), r["chosen"].strip(), r["rejected"].strip()
    for r in records(sets / "pandalm" / "pandalm_pairs"):
        yield joined(r["instruction"], r["input"]), r["chosen"].strip(), r["rejected"].strip()


def write(path, lines):
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    print(f"{path.name}: {len(lines)} lines")


def size(value):
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8"))


def write_answers(path, pairs):
    lines, seen = [], set()
    for prompt, answer in pairs:
        prompt, answer = prompt.strip(), answer.strip()
        if not prompt or not answer or size(prompt) + size(answer) > MAX_BYTES or (prompt, answer) in seen:
            continue
        seen.add((prompt, answer))
        lines.append({"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]})
    write(path, lines)


def write_preferences(path, pairs):
    lines = []
    for prompt, chosen, rejected in pairs:
        if chosen and rejected and chosen != rejected and size(prompt) + max(size(chosen), size(rejected)) <= 2 * MAX_BYTES:
            lines.append({"prompt": prompt, "chosen": chosen, "rejected": rejected})
    write(path, lines)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    sets, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    write_answers(out / "dolly.sft.jsonl", dolly(sets))
    write_answers(out / "tasks.sft.jsonl", tasks(sets))
    write_answers(out / "gsm8k.sft.jsonl", gsm8k(sets))
    write_answers(out / "hhrlhf.sft.jsonl", hhrlhf(sets))
    write_preferences(out / "hh.dpo.jsonl", harmless(sets))
    write_preferences(out / "instructions.dpo.jsonl", instructions(sets))


if __name__ == "__main__":
    main()
