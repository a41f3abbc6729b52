#!/usr/bin/env python3
"""Writes the golden of distillation under tests/goldens: losses and gradients of every divergence on seeded tiny models.

distillation: train_llama's weights as the student of train_mixtral's, in float64 with PyTorch's gradients. The divergences are written
out from their definitions (Hinton et al., arXiv 1503.02531; generalised Jensen-Shannon, arXiv 2306.13649), and each is checked against
torch.nn.functional.kl_div. Run after tools/make_goldens.py, which replaces the folder.
"""

import argparse
import importlib.metadata
import json
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from make_goldens import MIN_MARGIN, REPOSITORY, doubles, leaves, reference, routing_margin

SEQUENCES, TOKENS = 2, 9
CASES = {"forward": {"kind": "forward", "temperature": 1.0, "weight": 1.0},
         "forward_hot": {"kind": "forward", "temperature": 2.0, "weight": 0.25},
         "reverse": {"kind": "reverse", "temperature": 1.0, "weight": 1.0},
         "reverse_hot": {"kind": "reverse", "temperature": 1.5, "weight": 0.7},
         "js": {"kind": "js", "temperature": 1.0, "weight": 1.0, "beta": 0.5},
         "js_cold": {"kind": "js", "temperature": 0.5, "weight": 0.6, "beta": 0.3},
         "hard": {"kind": "forward", "temperature": 4.0, "weight": 0.0}}
GRADIENTS = ["model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.down_proj.weight",
             "model.norm.weight"]


def divergence(kind, log_p, log_q, beta=0.5):
    """[rows] of log-probabilities [rows, vocabulary]."""
    p, q = log_p.exp(), log_q.exp()
    kl = lambda log_a, log_b: F.kl_div(log_b, log_a, log_target=True, reduction="none").sum(-1)
    if kind == "forward":
        value, other = (p * (log_p - log_q)).sum(-1), kl(log_p, log_q)
    elif kind == "reverse":
        value, other = (q * (log_q - log_p)).sum(-1), kl(log_q, log_p)
    else:
        log_m = (beta * p + (1 - beta) * q).log()
        value = beta * (p * (log_p - log_m)).sum(-1) + (1 - beta) * (q * (log_q - log_m)).sum(-1)
        other = beta * kl(log_p, log_m) + (1 - beta) * kl(log_q, log_m)
    assert torch.allclose(value, other, rtol=1e-9, atol=1e-12)
    return value


def loss_of(student, teacher, targets, kind, temperature, weight, beta=0.5):
    """Total, divergence and cross-entropy, means over rows."""
    soft = divergence(kind, F.log_softmax(teacher / temperature, -1), F.log_softmax(student / temperature, -1), beta).mean()
    hard = F.cross_entropy(student, targets)
    return weight * temperature ** 2 * soft + (1 - weight) * hard, soft, hard


def make_distillation(root):
    folder = root / "distillation"
    folder.mkdir(exist_ok=True)
    configs = {name: AutoConfig.from_pretrained(root / name) for name in ("train_llama", "train_mixtral")}
    weights = {name: load_file(root / name / "model.safetensors") for name in configs}
    for seed in range(100, 2000):
        tokens = torch.randint(3, configs["train_llama"].vocab_size, (SEQUENCES, TOKENS + 1), generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            teacher, routing = reference(doubles(weights["train_mixtral"]), configs["train_mixtral"], tokens[:, :-1])
        if routing_margin(configs["train_mixtral"], routing, ordered=False) > MIN_MARGIN:
            break
    else:
        raise SystemExit("no seed keeps the routing clear of ties")
    parameters = leaves(weights["train_llama"])
    student = reference(parameters, configs["train_llama"], tokens[:, :-1])[0]
    teacher, rows, targets = teacher.flatten(0, 1), student.flatten(0, 1), tokens[:, 1:].flatten()
    golden = {"tokens": tokens, "teacher": teacher.float().contiguous(), "student": rows.detach().float().contiguous()}
    for name, options in CASES.items():
        loss, soft, hard = loss_of(rows, teacher, targets, **options)
        by_logits, *gradients = torch.autograd.grad(loss, [rows, *(parameters[g] for g in GRADIENTS)], retain_graph=True)
        golden[f"{name}.losses"] = torch.stack([loss, soft, hard]).detach()
        golden[f"{name}.d_logits"] = by_logits.float().contiguous()
        golden |= {f"{name}.{g}": value.float().contiguous() for g, value in zip(GRADIENTS, gradients)}
    save_file(golden, folder / "golden.safetensors")
    return {"student": "train_llama", "teacher": "train_mixtral", "gradients": "float64 autograd", "seed": seed, "settings": CASES,
            "files": ["golden.safetensors"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=REPOSITORY / "tests" / "goldens")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    packages = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "safetensors")}
    entry = {"command": "python tools/make_distill_goldens.py", "packages": packages} | make_distillation(arguments.out)
    path = arguments.out / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["cases"]["distillation"] = entry
    path.write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
