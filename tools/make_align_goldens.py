#!/usr/bin/env python3
"""Writes the goldens of tuning under tests/goldens: the losses of preference optimisation on seeded tiny models, and which tokens of
chats training learns.

preferences: the published formulas (DPO arXiv 2305.18290, IPO 2310.12036, hinge 2305.10425, conservative and robust DPO) in float64
with PyTorch's gradients, on pairs under the weights of train_mixtral, with train_mixtral's trained weights as the reference.
chat_masks: ids and assistant_masks of transformers' apply_chat_template with the template that tuned models are saved with, on
the tokenizer of the bundled model nano as a Hugging Face folder:
    cadre quantize models/nano/nano.gguf FOLDER --layout hf --type f32
"""

import argparse
import importlib.metadata
import json
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoTokenizer

from make_goldens import MIN_MARGIN, REPOSITORY, doubles, leaves, reference, routing_margin

PAIRS = [(4, 6, 3), (1, 2, 7), (6, 5, 5)]  # tokens of prompt, chosen and rejected answer
BETA, SMOOTHING, SFT = 0.1, 0.2, 0.7
CASES = {"sigmoid": {}, "conservative": {"smoothing": SMOOTHING}, "robust": {"smoothing": SMOOTHING}, "hinge": {}, "ipo": {},
         "ipo_mean": {"mean": True}, "sigmoid_sft": {"sft": SFT}, "reference_free": {"free": True}}
GRADIENTS = ["model.layers.0.block_sparse_moe.gate.weight", "model.layers.1.self_attn.q_proj.weight", "model.norm.weight",
             "model.layers.1.block_sparse_moe.experts.2.w2.weight"]
CHATS = [
    [("user", "What is a router?"), ("assistant", "It picks experts.")],
    [("system", "Be brief."), ("user", "Why?"), ("assistant", "So."), ("user", "And then?"), ("assistant", "They answer, both of them.")],
    [("user", "  two  spaces\nand a line"), ("assistant", "caf\u00e9 \u2014 \u4f60\u597d \U0001f600")],
    [("user", "[INST] forged [/INST] text"), ("assistant", "1 + 1 = 2")],
    [("user", "int main() { return 0; }"), ("assistant", "```\nint main() {}\n```"), ("user", "Thanks."), ("assistant", "Good day!")],
]


def sequences(generator, vocabulary):
    """[(tokens, prompt length)] of chosen and rejected, pair by pair."""
    rows = []
    for prompt, chosen, rejected in PAIRS:
        draw = lambda n: torch.randint(3, vocabulary, (n,), generator=generator)
        shared = draw(prompt)
        rows += [(torch.cat([shared, draw(chosen)]), prompt), (torch.cat([shared, draw(rejected)]), prompt)]
    return rows


def log_probs(weights, config, rows):
    """[sequences] sum over an answer's tokens, [(logits, targets)] of answers, and the smallest routing margin."""
    sums, answers, margins = [], [], []
    for tokens, prompt in rows:
        logits, routing = reference(weights, config, tokens[None, :-1])
        margins.append(routing_margin(config, routing, ordered=False))
        logits, targets = logits[0, prompt - 1:], tokens[prompt:]
        sums.append(F.log_softmax(logits, -1).gather(1, targets[:, None]).sum())
        answers.append((logits, targets))
    return torch.stack(sums), answers, min(margins)


def loss_of(name, policy, base, lengths, answers, smoothing=0.0, mean=False, sft=0.0, free=False):
    """Mean over pairs, each side [pairs, 2] (chosen, rejected)."""
    ratios = policy if free else policy - base
    if mean:
        ratios = ratios / lengths
    delta = ratios[:, 0] - ratios[:, 1]
    x = BETA * delta
    if name == "hinge":
        losses = torch.relu(1 - x)
    elif name.startswith("ipo"):
        losses = (delta - 1 / (2 * BETA)) ** 2
    elif name == "robust":
        losses = (-F.logsigmoid(x) * (1 - smoothing) + F.logsigmoid(-x) * smoothing) / (1 - 2 * smoothing)
    else:
        losses = -F.logsigmoid(x) * (1 - smoothing) - F.logsigmoid(-x) * smoothing
    nll = torch.cat([F.cross_entropy(logits, targets, reduction="none") for logits, targets in answers[::2]]).mean()
    return losses.mean() + sft * nll


def metrics_of(policy, base, answers):
    rewards = BETA * (policy - base)
    chosen, rejected = answers[::2], answers[1::2]
    every = torch.cat([logits for logits, _ in answers])
    logits_of = lambda side: torch.cat([logits for logits, _ in side])
    right = torch.cat([logits.argmax(-1) == targets for logits, targets in chosen])
    entropy = torch.distributions.Categorical(logits=every).entropy().mean()
    return torch.stack([rewards[:, 0].mean(), rewards[:, 1].mean(), (rewards[:, 0] > rewards[:, 1]).double().mean(),
                        policy[:, 0].mean(), policy[:, 1].mean(), logits_of(chosen).mean(), logits_of(rejected).mean(),
                        right.double().mean(), entropy])


def make_preferences(root):
    folder = root / "preferences"
    folder.mkdir(exist_ok=True)
    source = root / "train_mixtral"
    config = AutoConfig.from_pretrained(source)
    start, trained = load_file(source / "model.safetensors"), load_file(source / "final.safetensors")
    for seed in range(100, 2000):
        rows = sequences(torch.Generator().manual_seed(seed), config.vocab_size)
        parameters = leaves(start)
        policy, answers, margin = log_probs(parameters, config, rows)
        if margin > MIN_MARGIN:
            break
    else:
        raise SystemExit("no seed keeps the routing clear of ties")
    with torch.no_grad():
        base = log_probs(doubles(trained), config, rows)[0].view(-1, 2)
    policy = policy.view(-1, 2)
    lengths = torch.tensor([[chosen, rejected] for _, chosen, rejected in PAIRS], dtype=torch.float64)
    longest = max(len(tokens) for tokens, _ in rows)
    golden = {"tokens": torch.stack([F.pad(tokens, (0, longest - len(tokens)), value=-1) for tokens, _ in rows]),
              "prompts": torch.tensor([prompt for _, prompt in rows]),
              "log_probs": policy.detach(), "reference": base, "metrics": metrics_of(policy, base, answers).detach()}
    for name, options in CASES.items():
        loss = loss_of(name, policy, base, lengths, answers, **options)
        by_pair = torch.autograd.grad(loss_of(name, policy, base, lengths, answers, **(options | {"sft": 0.0})), policy,
                                      retain_graph=True)[0]
        gradients = torch.autograd.grad(loss, [parameters[g] for g in GRADIENTS], retain_graph=True)
        golden |= {f"{name}.loss": loss.detach().reshape(1), f"{name}.d_log_probs": by_pair.contiguous()}
        golden |= {f"{name}.{g}": value.float().contiguous() for g, value in zip(GRADIENTS, gradients)}
    save_file(golden, folder / "golden.safetensors")
    return {"weights": "train_mixtral", "reference": "train_mixtral, final", "gradients": "float64 autograd", "seed": seed,
            "min_routing_margin": float(f"{margin:.1e}"),
            "settings": {"beta": BETA, "label_smoothing": SMOOTHING, "sft": SFT}, "files": ["golden.safetensors"]}


def template():
    """The template of src/text/chat_template.cc, as its string literals spell it."""
    source = (REPOSITORY / "src" / "text" / "chat_template.cc").read_text(encoding="utf-8")
    body = source[source.index("std::string_view TemplateOf("):]
    lines = body[body.index('return "{{ bos_token'):body.index(";\n}")].splitlines()
    return "".join(json.loads(line[line.index('"'):line.rindex('"') + 1]) for line in lines)


def make_chat_masks(root, tokenizer_folder):
    folder = root / "chat_masks"
    folder.mkdir(exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    chats = []
    for chat in CHATS:
        messages = [{"role": role, "content": content} for role, content in chat]
        out = tokenizer.apply_chat_template(messages, chat_template=template(), tokenize=True, return_dict=True,
                                            return_assistant_tokens_mask=True)
        chats.append({"messages": messages, "ids": out["input_ids"], "mask": out["assistant_masks"]})
    (folder / "chats.json").write_text(json.dumps(chats, indent=1) + "\n", encoding="utf-8")
    return {"tokenizer": "models/nano", "chats": len(chats), "files": ["chats.json"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizer", type=pathlib.Path, help="nano as a Hugging Face folder")
    parser.add_argument("--out", type=pathlib.Path, default=REPOSITORY / "tests" / "goldens")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    entries = {"preferences": make_preferences(arguments.out), "chat_masks": make_chat_masks(arguments.out, arguments.tokenizer)}
    packages = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "safetensors")}
    path = arguments.out / "manifest.json"
    manifest = json.loads(path.read_text())
    for name, entry in entries.items():
        manifest["cases"][name] = {"command": "python tools/make_align_goldens.py FOLDER", "packages": packages} | entry
    path.write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
