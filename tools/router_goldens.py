#!/usr/bin/env python3
"""Writes tests/goldens/routers: what PyTorch and transformers say of every router and every loss of one.

Reads the weights of tests/goldens/train_mixtral, which make_goldens.py writes (and calls this). The forward is
written here from the papers, in float64, and autograd gives the gradients; the draws of jitter and noise are made
by a Philox of its own. The balance losses come from transformers' load_balancing_loss_func itself.
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import AutoConfig
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

import make_goldens as goldens

SEED, STEP = 11, 1  # of the draws
JITTER_SITE, NOISE_SITE, LOT_SITE = 4, 5, 6
CASES = {
    "switch": dict(k=1, softmax="all", capacity=1.0, jitter=0.1, balance=0.05, form="switch", z=0.01),
    "noisy": dict(k=2, softmax="chosen", noise=0.01, importance=0.1, load=0.1),
    "gshard": dict(k=2, softmax="chosen", capacity=0.75, balance=0.5, form="gshard", z=0.02),
    "busy": dict(k=2, softmax="all", capacity=0.9, jitter=0.2, noise=0.1, balance=0.05, form="hf", importance=0.1,
                 load=0.2, z=0.01, padded=True),
    "held": dict(k=2, softmax="chosen", balance=0.05, form="switch", anchor=0.5, padded=True),
    "lots": dict(k=2, softmax="chosen", capacity=0.75, lots=True, balance=0.5, form="gshard", jitter=0.1),
}


# --- Draws ------------------------------------------------------------------------------------------------------

def philox(seed, stream, counter):
    """Philox4x32-10 of one counter: four 32-bit words."""
    mask = 0xFFFFFFFF
    x = [counter & mask, counter >> 32, stream & mask, stream >> 32]
    keys = [seed & mask, seed >> 32]
    for _ in range(10):
        first, second = 0xD2511F53 * x[0], 0xCD9E8D57 * x[2]
        x = [(second >> 32) ^ x[1] ^ keys[0], second & mask, (first >> 32) ^ x[3] ^ keys[1], first & mask]
        keys = [(keys[0] + 0x9E3779B9) & mask, (keys[1] + 0xBB67AE85) & mask]
    return x


def stream(layer, site):
    return (STEP << 16 | layer << 4 | site) + 1


def jitter_factors(rows, cols, epsilon, layer):
    blocks = (cols + 3) // 4
    words = [[philox(SEED, stream(layer, JITTER_SITE), r * blocks + c // 4)[c % 4] >> 8 for c in range(cols)]
             for r in range(rows)]
    return 1 + epsilon * (torch.tensor(words, dtype=torch.float64) * 2.0 ** -23 - 1)


def normals(rows, cols, layer):
    """Box-Muller on 53 bits of each half."""
    out = torch.empty(rows, cols, dtype=torch.float64)
    for index in range(rows * cols):
        w = philox(SEED, stream(layer, NOISE_SITE), index)
        u, v = (((w[1] << 21) ^ (w[0] >> 11)) + 1) * 2.0 ** -53, ((w[3] << 21) ^ (w[2] >> 11)) * 2.0 ** -53
        out[index // cols, index % cols] = math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * v)
    return out


def lots(rows, layer):
    return torch.tensor([philox(SEED, stream(layer, LOT_SITE), row)[0] >> 8 for row in range(rows)]).double() * 2.0 ** -24


# --- The router ---------------------------------------------------------------------------------------------------

def kept_choices(experts, num_experts, factor, wins):
    """[rows, k] which choices run: those that win and find room, first choices of all rows, then second ones."""
    rows, k = experts.shape
    kept = wins.clone()
    if not factor:
        return kept
    room = [math.ceil(factor * rows * k / num_experts)] * num_experts
    for choice in range(k):
        for row in range(rows):
            expert = int(experts[row, choice])
            kept[row, choice] &= room[expert] > 0
            room[expert] -= bool(kept[row, choice])
    return kept


def smooth_load(clean, noisy, deviation, experts):
    """[E] summed chances of being chosen if one's own noise were drawn again (Shazeer 2017, appendix A)."""
    k = experts.shape[1]
    top = noisy.topk(k + 1, -1).values
    chosen = torch.zeros_like(noisy, dtype=torch.bool).scatter(1, experts, True)
    threshold = torch.where(chosen, top[:, k:k + 1], top[:, k - 1:k])
    return torch.distributions.Normal(0.0, 1.0).cdf((clean - threshold) / deviation)


def variation(values):
    return values.var(unbiased=False) / (values.mean() ** 2 + 1e-10)


def mixture(w, config, case, layer, x):
    """x [rows, d] -> output [rows, d] and what the losses need."""
    count = config.num_local_experts
    read = x * jitter_factors(*x.shape, case["jitter"], layer) if "jitter" in case else x
    clean = read @ w["block_sparse_moe.gate.weight"].T
    noisy, deviation = clean, None
    if "noise" in case:
        deviation = F.softplus(read @ w["block_sparse_moe.gate_noise.weight"].T) + case["noise"]
        noisy = clean + normals(len(x), count, layer) * deviation
    probs = noisy.softmax(-1)
    top, experts = probs.topk(case["k"], -1)
    if "experts" in case:  # replayed
        experts = case["experts"][layer].long()
        top = probs.gather(1, experts)
    gates = top if case["softmax"] == "all" else top / top.sum(-1, keepdim=True)
    wins = torch.ones_like(experts, dtype=torch.bool)
    if "lots" in case:
        wins[:, 1] = 2 * gates[:, 1] / gates.sum(-1) > lots(len(x), layer)
    kept = kept_choices(experts, count, case.get("capacity"), wins)
    y = torch.zeros_like(x)
    for m in range(count):
        row, slot = torch.where((experts == m) & kept)
        parts = (w[f"block_sparse_moe.experts.{m}.{part}.weight"] for part in ("w1", "w2", "w3"))
        y = y.index_add(0, row, goldens.swiglu(x[row], *parts) * gates[row, slot, None])
    load = smooth_load(clean, noisy, deviation, experts) if "noise" in case else None
    return y, dict(noisy=noisy, probs=probs, experts=experts, gates=gates, dropped=wins & ~kept, load=load)


def router_losses(case, layers, count, counted):
    """The losses, each a mean over the layers; rows outside `counted` take no part."""
    mean = lambda values: torch.stack(values).mean()
    found = {"balance": torch.zeros(()).double()}
    if case.get("form") == "hf":
        mask = counted.view(1, -1).long()
        found["balance"] = load_balancing_loss_func(tuple(r["noisy"] for r in layers), count, case["k"], mask)
    elif "form" in case:
        products = [(F.one_hot(r["experts"][counted, 0], count).double().mean(0) * r["probs"][counted].mean(0)).sum()
                    for r in layers]
        found["balance"] = mean(products) * (count if case["form"] == "switch" else 1 / count)
    sums = [torch.zeros(counted.sum(), count).double().scatter(1, r["experts"][counted], r["gates"][counted]).sum(0)
            for r in layers]
    found["importance"] = mean([variation(s) for s in sums])
    if "load" in case:
        found["load"] = mean([variation(r["load"][counted].sum(0)) for r in layers])
    if "anchor" in case:
        found["anchor"] = mean([F.kl_div(r["noisy"][counted].log_softmax(-1), target[counted].double(), reduction="batchmean")
                                for r, target in zip(layers, case["probs"])])
    found["z"] = mean([r["noisy"][counted].logsumexp(-1).pow(2).mean() for r in layers])
    return found


def forward(weights, config, case, ids, counted):
    """Loss, its parts and the routing of one step; targets are the next tokens, among rows that count."""
    x, layers, eps = weights["model.embed_tokens.weight"][ids], [], config.rms_norm_eps
    for layer in range(config.num_hidden_layers):
        prefix = f"model.layers.{layer}."
        w = {name.removeprefix(prefix): t for name, t in weights.items() if name.startswith(prefix)}
        x = x + goldens.attention(w, config, goldens.rms_norm(x, w["input_layernorm.weight"], eps))
        n = goldens.rms_norm(x, w["post_attention_layernorm.weight"], eps)
        y, found = mixture(w, config, case, layer, n.flatten(0, 1))
        layers.append(found)
        x = x + y.view_as(x)
    logits = goldens.rms_norm(x, weights["model.norm.weight"], eps) @ weights["lm_head.weight"].T
    targets = ids[:, 1:].masked_fill(~counted.view_as(ids)[:, 1:], -100)
    entropy = F.cross_entropy(logits[:, :-1].flatten(0, 1), targets.flatten())
    parts = router_losses(case, layers, config.num_local_experts, counted)
    return entropy + sum(case.get(name, 0) * value for name, value in parts.items()), entropy, parts, layers


# --- Files ----------------------------------------------------------------------------------------------------------

def projections(gradient):
    """[4] what is kept of a large gradient: its products with four fixed vectors."""
    index = torch.arange(gradient.numel(), dtype=torch.float64)
    return torch.stack([(gradient.flatten() * torch.cos((j + 1) * index + j)).sum() for j in range(4)])


def margin(case, layers):
    gaps = [-r["noisy"].detach().sort(-1, descending=True)[0][:, :case["k"] + 1].diff(dim=-1) for r in layers]
    return float(min(gap.min() for gap in gaps))


def router_case(config, weights, case, first_seed):
    batch, length = goldens.TRAIN["batch"], goldens.TRAIN["sequence"]
    for seed in range(first_seed, first_seed + 2000):
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(0, config.vocab_size, (batch, length), generator=generator)
        noise = {f"model.layers.{layer}.block_sparse_moe.gate_noise.weight":
                 0.2 * torch.randn(config.num_local_experts, config.hidden_size, generator=generator)
                 for layer in range(config.num_hidden_layers)} if "noise" in case else {}
        held = {}
        if "anchor" in case:
            shape = (config.num_hidden_layers, batch * length, config.num_local_experts)
            held = {"probs": torch.randn(shape, generator=generator).softmax(-1),
                    "experts": torch.rand(shape, generator=generator).topk(case["k"], -1).indices.int()}
            case = case | held
        leaves = goldens.leaves(weights | noise)
        counted = torch.ones(batch * length, dtype=torch.bool)
        if case.get("padded"):
            counted.view(batch, length)[1, 8:] = counted.view(batch, length)[2, 5:] = False
        loss, entropy, parts, layers = forward(leaves, config, case, ids, counted)
        if margin(case, layers) > goldens.MIN_MARGIN:
            break
    else:
        raise SystemExit("no seed keeps the routing clear of ties")
    loss.backward()
    dropped = torch.stack([r["dropped"].double().mean() for r in layers])
    assert (dropped > 0).all() == ("capacity" in case)
    stored = {"ids": ids, "counted": counted.to(torch.uint8), "loss": loss.detach(), "cross_entropy": entropy.detach(),
              "drop_rate": dropped} | noise | held | {name: value.detach().double() for name, value in parts.items()}
    for name, leaf in leaves.items():
        whole = leaf.dim() == 1 or "gate" in name
        stored["grad." + name] = leaf.grad.float() if whole else projections(leaf.grad)
        stored["norm." + name] = leaf.grad.norm()
    return {name: value.contiguous() for name, value in stored.items()}, seed


def balance_case():
    """Logits of layers and masks, with the loss transformers computes of them."""
    generator = torch.Generator().manual_seed(70)
    layers, batch, length, count = 3, 4, 6, 8
    logits = torch.randn(layers, batch * length, count, generator=generator)
    mask = torch.ones(batch, length, dtype=torch.int64)
    mask[1, 4:] = mask[2, :3] = mask[3, 1:] = 0
    stored = {"logits": logits, "mask": mask.flatten().to(torch.uint8)}
    for k in (1, 2, 3):
        for name, chosen in (("plain", None), ("masked", mask)):
            leaf = logits.double().requires_grad_()
            loss = load_balancing_loss_func(tuple(leaf), count, k, chosen)
            loss.backward()
            stored[f"{name}.{k}"] = loss.detach().double()
            if k == 2:
                stored[f"grad.{name}.{k}"] = leaf.grad.float()
    return stored


def make_router_cases(root):
    source = root / "train_mixtral"
    config, weights = AutoConfig.from_pretrained(source), load_file(source / "model.safetensors")
    folder = root / "routers"
    folder.mkdir(exist_ok=True)
    entry = {"weights": "those of train_mixtral", "gradients": "float64 autograd; large ones as four products", "seeds": {}}
    for index, (name, case) in enumerate(CASES.items()):
        stored, entry["seeds"][name] = router_case(config, weights, case, 10_000 + 1000 * index)
        save_file(stored, folder / f"{name}.safetensors")
    save_file(balance_case(), folder / "balance.safetensors")
    return {"routers": entry}


def main():
    root = goldens.REPOSITORY / "tests" / "goldens"
    torch.set_num_threads(1)
    manifest = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
    for name, entry in make_router_cases(root).items():
        manifest["cases"][name] = entry | {"files": sorted(file.name for file in (root / name).iterdir())}
    (root / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(manifest["cases"]["routers"], indent=1))


if __name__ == "__main__":
    main()
