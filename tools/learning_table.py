#!/usr/bin/env python3
"""Trains one small model with every router, three seeds each, at the same tokens and the same active parameters, and
prints what they learnt as a table in Markdown: loss on held-back text, drop rate, load entropy, tokens per second.

Resumable: a run that is done is kept, one that was killed goes on from its newest checkpoint, and another call with
the same --out does what is left. The tokenizer is learnt once, in OUT/tokenizer, unless --tokenizer names one.

  tools/learning_table.py --cadre build/release/cadre --data CORPUS --out runs/routers
"""

import argparse
import ctypes
import json
import math
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import time

# Four layers of width 128 over a vocabulary of 2048: about 0.85 M parameters are active in every variant, because a
# token always meets 256 hidden units a layer: one expert of 256 (dense, Switch) or two of 128 (top-2).
BASE = {
    "model": {"dim": 128, "layers": 4, "heads": 4, "kv_heads": 2, "context": 256, "tie_embeddings": True},
    "train": {"batch_tokens": 2048, "segment_tokens": 256, "lr": 0.004, "final_lr_share": 0.05, "warmup_steps": 40, "beta2": 0.99},
}
FILES = {"train": ["en.train.jsonl.zst"], "valid": {"en": ["en.valid.jsonl.zst"]}}
DENSE = {"model.experts": 1, "model.hidden_dim": 256}
TOP2 = {"model.experts": 8, "model.experts_per_token": 2, "model.hidden_dim": 128, "train.balance": 0.02}
SWITCH = {"model.experts": 8, "model.experts_per_token": 1, "model.hidden_dim": 256, "router.kind": "switch",
          "router.jitter": 0.01, "train.balance_form": "switch", "train.balance": 0.01}
VARIANTS = {
    "dense": ("dense", DENSE),
    "top2": ("top-2 of 8", TOP2),
    "switch-1.0": ("Switch top-1, capacity 1.0", SWITCH | {"router.capacity_factor": 1.0}),
    "switch-1.25": ("Switch top-1, capacity 1.25", SWITCH | {"router.capacity_factor": 1.25}),
    "switch-1.5": ("Switch top-1, capacity 1.5", SWITCH | {"router.capacity_factor": 1.5}),
    "noisy": ("noisy top-2 of 8", TOP2 | {"router.kind": "noisy", "train.balance": 0, "train.importance": 0.1,
                                          "train.load": 0.1}),
    "no-balance": ("top-2 of 8, no balance loss", TOP2 | {"train.balance": 0}),
}


def words(settings):
    return [word for key, value in settings.items()
            for word in ("--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}")]


def flat(nested, prefix=""):
    """Nested objects as dotted keys, lists and the groups of data.valid left whole."""
    out = {}
    for key, value in nested.items():
        whole = not isinstance(value, dict) or prefix + key == "data.valid"
        out |= {prefix + key: value} if whole else flat(value, f"{prefix}{key}.")
    return out


def end_with_parent():
    """In a child: SIGTERM when this process is killed, so that no two ever write the same run."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


class Training:
    """One call of `cadre train`, or of another command that trains, that may be stopped and called again."""

    def __init__(self, args, folder, settings, command="train"):
        self.args, self.folder, self.settings, self.command = args, folder, settings, command

    def lines(self):
        path = self.folder / "metrics.jsonl"
        found = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                found.append(json.loads(line))
            except ValueError:  # a kill cut it short
                break
        return found

    def done(self):
        lines = self.lines()
        return bool(lines) and lines[-1]["step"] == self.settings["train.steps"] and (self.folder / "model" / "config.json").exists()

    def run(self):
        config = self.folder / "settings.json"
        wanted = json.dumps(self.settings, indent=1, sort_keys=True)
        if config.exists() and config.read_text(encoding="utf-8") != wanted:
            raise SystemExit(f"{self.folder}: was begun with other settings; take another --out, or remove it")
        self.folder.mkdir(parents=True, exist_ok=True)
        config.write_text(wanted, encoding="utf-8")
        if self.done():
            return
        command = [self.args.cadre, self.command, "--out", self.folder, "--resume", "--log-level", "warn", *words(self.settings)]
        if self.args.threads:
            command += ["--threads", str(self.args.threads)]
        with subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, start_new_session=True,
                              preexec_fn=end_with_parent) as process:
            try:
                code = process.wait()
            except KeyboardInterrupt:
                process.send_signal(signal.SIGINT)  # it writes a checkpoint and ends
                process.wait()
                raise
        if code != 0 or not self.done():
            raise SystemExit(f"{self.folder}: training ended with {code} before its last step")
        shutil.rmtree(self.folder / "checkpoints")  # three times the model, and of no more use


def tokenizer(args):
    if args.tokenizer:
        return args.tokenizer
    path = args.out / "tokenizer" / "tokenizer.model"
    if not path.exists():
        print("learning the tokenizer", file=sys.stderr)
        one_step = flat(BASE) | DENSE | data_settings(args) | {"data.valid": {}, "tokenizer.vocab_size": args.vocab,
                                                              "train.steps": 1, "train.warmup_steps": 0, **args.set}
        training = Training(args, path.parent, one_step)
        training.run()
    return path


def data_settings(args):
    return {"data.folder": str(args.data), "data.train": args.train or FILES["train"],
            "data.valid": {"valid": args.valid} if args.valid else FILES["valid"]}


def settings_of(args, key, seed, model):
    steps = max(1, args.tokens // args.set.get("train.batch_tokens", BASE["train"]["batch_tokens"]))
    every = {"name": key, "seed": seed, "tokenizer.path": str(model), "train.steps": steps, "train.checkpoint_every": 50,
             "train.validate_every": steps}
    return flat(BASE) | data_settings(args) | VARIANTS[key][1] | every | args.set


def outcome(training):
    """What one finished run has to say; loads and drops are means over the last tenth of its steps."""
    lines = training.lines()
    tail = lines[-max(1, len(lines) // 10):]
    mean = lambda key: statistics.fmean(value for line in tail for value in line[key]) if key in tail[0] else None
    valid = lines[-1]["valid"].values()
    targets = sum(group["tokens"] for group in valid)
    return {"loss": sum(group["loss"] * group["tokens"] for group in valid) / targets,
            "bits_per_byte": statistics.fmean(group["bits_per_byte"] for group in valid),
            "train_loss": statistics.fmean(line["cross_entropy"] for line in tail),
            "drop_rate": mean("drop_rate"), "load_entropy": mean("load_entropy"),
            "dead_experts": statistics.fmean(sum(len(layer) for layer in line.get("dead_experts", [])) for line in tail),
            "tokens_per_s": statistics.median(line["tokens_per_s"] for line in lines)}


def active_parameters(args, training):
    shown = subprocess.run([str(args.cadre), "inspect", str(training.folder / "model"), "--json"], capture_output=True, text=True,
                           check=True)
    return json.loads(shown.stdout)["parameters"]


def cell(values, digits, factor=1.0, unit=""):
    if any(value is None for value in values):
        return "–"
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{factor * statistics.fmean(values):.{digits}f} ± {factor * spread:.{digits}f}{unit}"


def table(rows):
    text = ["| router | active / all parameters | loss (valid) | bits per byte | drop rate | load entropy | dead experts | tokens/s |",
            "|---|---:|---:|---:|---:|---:|---:|---:|"]
    for key, runs in rows.items():
        column = lambda name, runs=runs: [run[name] for run in runs]
        parameters = runs[0]["parameters"]
        dense = runs[0]["load_entropy"] is None or key == "dense"
        text.append("| " + " | ".join([
            VARIANTS[key][0], f"{parameters['active'] / 1e6:.3f} M / {parameters['total'] / 1e6:.2f} M",
            cell(column("loss"), 4), cell(column("bits_per_byte"), 4), cell(column("drop_rate"), 2, 100, "%"),
            "–" if dense else cell(column("load_entropy"), 3), "–" if dense else cell(column("dead_experts"), 1),
            cell(column("tokens_per_s"), 0)]) + " |")
    return "\n".join(text)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cadre", type=pathlib.Path, default=pathlib.Path("build/release/cadre"))
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder of the corpus")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder of the runs and the table")
    parser.add_argument("--tokens", type=int, default=1_000_000, help="of each run (%(default)s)")
    parser.add_argument("--seeds", default="1,2,3", help="(%(default)s)")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="(%(default)s)")
    parser.add_argument("--tokenizer", type=pathlib.Path, help="a tokenizer.model (learn one)")
    parser.add_argument("--vocab", type=int, default=2048, help="pieces of the tokenizer to learn (%(default)s)")
    parser.add_argument("--train", action="append", help="a file of --data to learn from (en.train.jsonl.zst)")
    parser.add_argument("--valid", action="append", help="a file of --data to be judged by (en.valid.jsonl.zst)")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for every run, as in cadre train")
    args = parser.parse_args()
    pairs = [setting.split("=", 1) for setting in args.set]
    if any(len(pair) != 2 for pair in pairs):
        parser.error("--set takes key=value")
    args.set = {key: value for key, value in pairs}
    for key, value in args.set.items():
        try:
            args.set[key] = json.loads(value)
        except ValueError:
            pass
    args.seeds, args.variants = [int(seed) for seed in args.seeds.split(",")], args.variants.split(",")
    unknown = set(args.variants) - set(VARIANTS)
    if unknown:
        parser.error(f"no variant {', '.join(sorted(unknown))}: there are {', '.join(VARIANTS)}")
    return args


def main():
    args = parse()
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    model = tokenizer(args)
    rows = {key: [] for key in args.variants}
    begin, count = time.monotonic(), len(args.seeds) * len(args.variants)
    for number, (seed, key) in enumerate(((s, v) for s in args.seeds for v in args.variants), 1):
        training = Training(args, args.out / f"{key}-{seed}", settings_of(args, key, seed, model))
        training.run()
        row = outcome(training) | {"parameters": active_parameters(args, training)}
        assert math.isfinite(row["loss"])
        rows[key].append(row)
        print(f"{number}/{count} {key} seed {seed}: loss {row['loss']:.4f}, {row['tokens_per_s']:.0f} tokens/s, "
              f"{(time.monotonic() - begin) / 60:.1f} min so far", file=sys.stderr, flush=True)
    text = table(rows)
    (args.out / "table.md").write_text(text + "\n", encoding="utf-8")
    (args.out / "table.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on")
