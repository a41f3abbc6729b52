#!/usr/bin/env python3
"""Tunes a dense and a sparse model of the same active parameters on one task and on a mixture of tasks, and prints what the sparse one
gains over the dense one before and after, as in "Mixture-of-Experts Meets Instruction Tuning" (arXiv 2305.14705): a table in Markdown
of losses on held-back answers.

Both models are pre-trained first, on the same tokens. Then each is tuned on the task alone (single-task), on all tasks (multi-task),
and on all tasks and then on the task alone. A gain is the dense loss less the sparse one, of the same seed, in nats a token.

Resumable: a run that is done is kept, one that was killed goes on from its newest checkpoint, and another call with the same --out does
what is left.

  tools/instruction_table.py --cadre build/release/cadre --data CORPUS --out runs/instructions \\
    --task code=codegen.jsonl.zst --task dolly=dolly-15k.jsonl.zst --task questions=t0_mix.jsonl.zst

The first task is the one that is tuned on alone, unless --target names another.
"""

import argparse
import json
import math
import pathlib
import signal
import statistics
import sys
import time

from learning_table import Training, active_parameters, cell, settings_of, tokenizer

MODELS = {"dense": "dense", "sparse": "top2"}  # name here: variant there
TUNING = {"train.batch_tokens": 2048, "train.segment_tokens": 256, "train.micro_tokens": 2048, "train.lr": 0.001, "train.warmup_steps": 10,
          "train.checkpoint_every": 25, "train.validate_samples": 300}
STAGES = [("before", "before tuning"), ("single", "single-task"), ("multi", "multi-task"), ("multi-single", "multi-task, then single-task")]


def tune(args, folder, base, tasks, seed):
    """A finished run of `cadre sft` from `base` on the named tasks."""
    settings = {"name": folder.name, "seed": seed, "model": str(base / "model"), "data.held_back": args.held_back, "data.skip_bad_lines": True,
                "data.train": {name: [str(path) for path in args.tasks[name]] for name in tasks}, "train.steps": args.steps,
                "train.validate_every": args.steps} | TUNING | args.tune
    training = Training(args, folder, settings, "sft")
    training.run()
    return training


def losses(line):
    """Of each task, on its held-back answers."""
    return {name: figures["loss"] for name, figures in line["valid"].items() if isinstance(figures, dict) and "loss" in figures}


def outcome(args, model, seed, tokens):
    """Losses of one model and seed: {stage: {task: loss}}."""
    folder = args.out / f"{model}-{seed}"
    base = Training(args, folder, settings_of(args, MODELS[model], seed, tokens))
    base.run()
    single = tune(args, args.out / f"{model}-{seed}-single", folder, [args.target], seed)
    multi = tune(args, args.out / f"{model}-{seed}-multi", folder, list(args.tasks), seed)
    both = tune(args, args.out / f"{model}-{seed}-multi-single", multi.folder, [args.target], seed)
    found = {"before": losses(multi.lines()[0]), "single": losses(single.lines()[-1]), "multi": losses(multi.lines()[-1]),
             "multi-single": losses(both.lines()[-1])}
    assert all(math.isfinite(loss) for stage in found.values() for loss in stage.values())
    assert abs(losses(single.lines()[0])[args.target] - found["before"][args.target]) < 1e-9  # the same answers are held back
    return {"losses": found, "parameters": active_parameters(args, base)}


def measured(args):
    """(stage, its name, what is measured: a task or None for the mean of all)."""
    rows = [(key, name, args.target) for key, name in STAGES]
    return rows + [(key, name, None) for key, name in STAGES if key in ("before", "multi")]


def loss_of(run, stage, task):
    found = run["losses"][stage]
    return found[task] if task else statistics.fmean(found.values())


def table(args, rows):
    heads = {name: f"{name}, {runs[0]['parameters']['active'] / 1e6:.3f} M of {runs[0]['parameters']['total'] / 1e6:.2f} M active"
             for name, runs in rows.items()}
    text = [f"| tuned | held-back answers of | {heads['dense']} | {heads['sparse']} | gain of sparse over dense |", "|---|---|---:|---:|---:|"]
    for stage, name, task in measured(args):
        columns = {model: [loss_of(run, stage, task) for run in runs] for model, runs in rows.items()}
        gains = [dense - sparse for dense, sparse in zip(columns["dense"], columns["sparse"])]
        text.append(f"| {name} | {task or 'all tasks, mean'} | {cell(columns['dense'], 4)} | {cell(columns['sparse'], 4)} | {cell(gains, 4)} |")
    return "\n".join(text)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cadre", type=pathlib.Path, default=pathlib.Path("build/release/cadre"))
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder of the corpus to pre-train on")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder of the runs and the table")
    parser.add_argument("--task", action="append", required=True, metavar="NAME=FILE[,FILE...]", help="instruction data, as `cadre sft` reads it")
    parser.add_argument("--target", help="the task that is tuned on alone (the first)")
    parser.add_argument("--tokens", type=int, default=1_000_000, help="of pre-training (%(default)s)")
    parser.add_argument("--steps", type=int, default=150, help="of each tuning (%(default)s)")
    parser.add_argument("--held-back", type=float, default=0.05, help="share of the prompts that is measured (%(default)s)")
    parser.add_argument("--seeds", default="1,2,3", help="(%(default)s)")
    parser.add_argument("--tokenizer", type=pathlib.Path, help="a tokenizer.model (learn one)")
    parser.add_argument("--vocab", type=int, default=2048, help="pieces of the tokenizer to learn (%(default)s)")
    parser.add_argument("--train", action="append", help="a file of --data to pre-train on (en.train.jsonl.zst)")
    parser.add_argument("--valid", action="append", help="a file of --data to measure pre-training by (en.valid.jsonl.zst)")
    parser.add_argument("--threads", type=int, default=0, help="(all)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a key of `cadre train`, for both models")
    parser.add_argument("--tune", action="append", default=[], metavar="KEY=VALUE", help="a key of `cadre sft`, for all tunings")
    args = parser.parse_args()
    args.set, args.tune = (keys_of(parser, words) for words in (args.set, args.tune))
    tasks = [task.split("=", 1) for task in args.task]
    if any(len(task) != 2 for task in tasks):
        parser.error("--task takes NAME=FILE")
    args.tasks = {name: [pathlib.Path(file).resolve() for file in files.split(",")] for name, files in tasks}
    if len(args.tasks) < 2:
        parser.error("a mixture needs two tasks of different names")
    args.target = args.target or tasks[0][0]
    if args.target not in args.tasks:
        parser.error(f"no task {args.target}: there are {', '.join(args.tasks)}")
    args.out, args.seeds = args.out.resolve(), [int(seed) for seed in args.seeds.split(",")]
    return args


def keys_of(parser, words):
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            parser.error("--set and --tune take key=value")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found


def stop(*_):
    raise KeyboardInterrupt


def main():
    args = parse()
    signal.signal(signal.SIGTERM, stop)
    tokens = tokenizer(args)
    rows = {model: [] for model in MODELS}
    begin = time.monotonic()
    for seed in args.seeds:
        for model, runs in rows.items():
            runs.append(outcome(args, model, seed, tokens))
            print(f"{model} seed {seed}: {args.target} {loss_of(runs[-1], 'before', args.target):.4f} before, "
                  f"{loss_of(runs[-1], 'single', args.target):.4f} single-task, {(time.monotonic() - begin) / 60:.1f} min so far",
                  file=sys.stderr, flush=True)
    text = table(args, rows)
    (args.out / "table.md").write_text(text + "\n", encoding="utf-8")
    (args.out / "table.json").write_text(json.dumps({"target": args.target, "runs": rows}, indent=1) + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on")
