#!/usr/bin/env python3
"""Writes tests/goldens: tiny seeded checkpoints with the logits, routing, losses and gradients they must give.

The numbers come from transformers (float32, eager attention, eager experts, one CPU thread) for the forward
cases and from the float64 model below for the training cases. Each is checked against the other before a file
is kept, and every checkpoint is read back from disk before its logits are taken. Refuses to write a case whose
routing is a near tie, since then a correct engine may choose other experts. Replaces the folder: run
tools/make_align_goldens.py and tools/make_distill_goldens.py afterwards, which add those of tuning and distillation.
"""

import argparse
import copy
import importlib.metadata
import json
import math
import pathlib
import platform
import shutil

import gguf
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
import transformers
from transformers import (AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM,
                          MixtralConfig, MixtralForCausalLM)
from transformers.models.mixtral.modeling_mixtral import MixtralTopKRouter, load_balancing_loss_func

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
PROMPT_TOKENS = 24
MIN_MARGIN = 1e-3           # between neighbours of the k+1 largest router probabilities
MIN_TRAINING_MARGIN = 5e-4  # between the k-th and the next one, over all steps
MAX_FOLDER_BYTES = 400_000
MAX_TOTAL_BYTES = 4_100_000
EAGER = dict(attn_implementation="eager", experts_implementation="eager")
TRAIN = dict(steps=10, batch=3, sequence=12, lr=1e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, clip=1.0)


# --- Configurations and weights -------------------------------------------------------------------------------

def mixtral_config(**changes):
    shape = dict(vocab_size=96, hidden_size=64, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
                 num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2, max_position_embeddings=128,
                 rope_parameters={"rope_type": "default", "rope_theta": 50000.0}, router_aux_loss_coef=0.02)
    return MixtralConfig(architectures=["MixtralForCausalLM"], **(shape | changes))


def dense_config(kind, **changes):
    shape = dict(vocab_size=96, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
                 num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-5,
                 rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
    name = {MistralConfig: "MistralForCausalLM", LlamaConfig: "LlamaForCausalLM"}[kind]
    return kind(architectures=[name], **(shape | changes))


def head_dim(config):
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def make_weights(config, seed):
    """Float32 tensors under the classic Hugging Face names, scaled so that logits are of order 1 to 10."""
    generator = torch.Generator().manual_seed(seed)
    d, f, width = config.hidden_size, config.intermediate_size, head_dim(config)
    weights = {}

    def normal(name, shape, scale):
        weights[name] = torch.randn(shape, generator=generator) * scale

    def norm(name):
        weights[name] = 1 + 0.2 * torch.randn(d, generator=generator)

    tied = config.tie_word_embeddings
    normal("model.embed_tokens.weight", (config.vocab_size, d), 3 / math.sqrt(d) if tied else 1.0)
    for layer in range(config.num_hidden_layers):
        prefix = f"model.layers.{layer}."
        norm(prefix + "input_layernorm.weight")
        normal(prefix + "self_attn.q_proj.weight", (config.num_attention_heads * width, d), 1.5 / math.sqrt(d))
        normal(prefix + "self_attn.k_proj.weight", (config.num_key_value_heads * width, d), 1.5 / math.sqrt(d))
        normal(prefix + "self_attn.v_proj.weight", (config.num_key_value_heads * width, d), 1 / math.sqrt(d))
        rows = config.num_attention_heads * width
        normal(prefix + "self_attn.o_proj.weight", (d, rows), 1 / math.sqrt(rows))
        norm(prefix + "post_attention_layernorm.weight")
        if config.model_type == "mixtral":
            moe = prefix + "block_sparse_moe."
            normal(moe + "gate.weight", (config.num_local_experts, d), 2 / math.sqrt(d))
            experts = [(moe + f"experts.{m}.", "w1", "w2", "w3") for m in range(config.num_local_experts)]
        else:
            experts = [(prefix + "mlp.", "gate_proj", "down_proj", "up_proj")]
        for expert, w1, w2, w3 in experts:
            normal(f"{expert}{w1}.weight", (f, d), 1.5 / math.sqrt(d))
            normal(f"{expert}{w2}.weight", (d, f), 1.5 / math.sqrt(f))
            normal(f"{expert}{w3}.weight", (f, d), 1.5 / math.sqrt(d))
    norm("model.norm.weight")
    if not tied:
        normal("lm_head.weight", (config.vocab_size, d), 3 / math.sqrt(d))
    return weights


def to_fused(weights):
    """Classic per-expert names to transformers 5 names; in gate_up_proj the rows of w1 come before those of w3."""
    fused, experts = {}, {}
    for name, tensor in weights.items():
        if ".experts." in name:
            prefix, rest = name.split(".block_sparse_moe.experts.")
            index, part, _ = rest.split(".")
            experts.setdefault(prefix, {})[int(index), part] = tensor
        else:
            fused[name.replace(".block_sparse_moe.", ".mlp.")] = tensor
    for prefix, parts in experts.items():
        count = len(parts) // 3
        fused[prefix + ".mlp.experts.gate_up_proj"] = torch.stack(
            [torch.cat([parts[m, "w1"], parts[m, "w3"]]) for m in range(count)])
        fused[prefix + ".mlp.experts.down_proj"] = torch.stack([parts[m, "w2"] for m in range(count)])
    return fused


def to_classic(tensors):
    """The inverse of to_fused."""
    classic = {}
    for name, tensor in tensors.items():
        if name.endswith(".mlp.gate.weight"):
            classic[name.replace(".mlp.", ".block_sparse_moe.")] = tensor
        elif name.endswith((".experts.gate_up_proj", ".experts.down_proj")):
            prefix = name.rsplit(".", 1)[0].replace(".mlp.", ".block_sparse_moe.")
            for m, matrix in enumerate(tensor):
                parts = dict(zip(("w1", "w3"), matrix.chunk(2))) if "gate_up" in name else {"w2": matrix}
                classic |= {f"{prefix}.{m}.{part}.weight": value for part, value in parts.items()}
        else:
            classic[name] = tensor
    return {name: tensor.contiguous() for name, tensor in classic.items()}


def build_model(config, weights):
    kind = {"mixtral": MixtralForCausalLM, "mistral": MistralForCausalLM, "llama": LlamaForCausalLM}[config.model_type]
    model = kind._from_config(copy.deepcopy(config), **EAGER)
    missing, unexpected = model.load_state_dict(to_fused(weights), strict=False)
    assert not unexpected and set(missing) <= ({"lm_head.weight"} if config.tie_word_embeddings else set())
    return model.eval()


# --- The second opinion: the same decoder, written here, in any precision ---------------------------------------

def rms_norm(x, weight, eps):
    return weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)


def rotate(x, theta):
    """x [B, heads, T, D]; pairs (i, i + D/2)."""
    tokens, width = x.shape[-2:]
    frequency = theta ** (-torch.arange(0, width, 2, dtype=x.dtype) / width)
    angle = torch.arange(tokens, dtype=x.dtype)[:, None] * frequency
    a, b = x.chunk(2, -1)
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


def attention(w, config, x):
    batch, tokens, _ = x.shape
    width, theta = head_dim(config), config.rope_parameters["rope_theta"]
    q, k, v = ((x @ w[f"self_attn.{p}_proj.weight"].T).view(batch, tokens, -1, width).transpose(1, 2) for p in "qkv")
    groups = config.num_attention_heads // config.num_key_value_heads
    k, v = (t.repeat_interleave(groups, 1) for t in (rotate(k, theta), v))
    distance = torch.arange(tokens)[:, None] - torch.arange(tokens)
    hidden = (distance < 0) | (distance >= (getattr(config, "sliding_window", None) or tokens))
    scores = (rotate(q, theta) @ k.transpose(2, 3) / math.sqrt(width)).masked_fill(hidden, -math.inf)
    mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, tokens, -1)
    return mixed @ w["self_attn.o_proj.weight"].T


def swiglu(x, w1, w2, w3):
    return (F.silu(x @ w1.T) * (x @ w3.T)) @ w2.T


def mixture(w, config, x):
    """x [rows, d] -> output [rows, d] and (router logits, probs, experts, gates)."""
    logits = x @ w["block_sparse_moe.gate.weight"].T
    probs = logits.softmax(-1)
    top, experts = probs.topk(config.num_experts_per_tok, -1)
    gates = top / top.sum(-1, keepdim=True)
    y = torch.zeros_like(x)
    for m in range(config.num_local_experts):
        row, slot = torch.where(experts == m)
        w1, w2, w3 = (w[f"block_sparse_moe.experts.{m}.{part}.weight"] for part in ("w1", "w2", "w3"))
        y = y.index_add(0, row, swiglu(x[row], w1, w2, w3) * gates[row, slot, None])
    return y, (logits, probs, experts, gates)


def reference(weights, config, ids):
    """ids [B, T] -> logits [B, T, V] and the routing of each layer, in the precision of the weights."""
    x, routing, eps = weights["model.embed_tokens.weight"][ids], [], config.rms_norm_eps
    for layer in range(config.num_hidden_layers):
        prefix = f"model.layers.{layer}."
        w = {name.removeprefix(prefix): t for name, t in weights.items() if name.startswith(prefix)}
        x = x + attention(w, config, rms_norm(x, w["input_layernorm.weight"], eps))
        n = rms_norm(x, w["post_attention_layernorm.weight"], eps)
        if config.model_type == "mixtral":
            y, route = mixture(w, config, n.flatten(0, 1))
            routing.append(route)
            x = x + y.view_as(x)
        else:
            x = x + swiglu(n, *(w[f"mlp.{part}_proj.weight"] for part in ("gate", "down", "up")))
    head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
    return rms_norm(x, weights["model.norm.weight"], eps) @ head.T, routing


def doubles(weights):
    return {name: tensor.double() for name, tensor in weights.items()}


def routing_margin(config, routing, ordered=True):
    """The smallest gap from the k-th to the next probability; when ordered, also between neighbours above it."""
    k = getattr(config, "num_experts_per_tok", 0)
    gaps = [-p.detach().sort(-1, descending=True)[0][:, :k + 1].diff(dim=-1) for _, p, _, _ in routing]
    return min((float((gap if ordered else gap[:, -1]).min()) for gap in gaps), default=math.inf)


def balance_loss(config, routing):
    """E * sum over experts of (mean choices per row) * (mean probability), layers concatenated; k when balanced."""
    probs = torch.cat([p for _, p, _, _ in routing])
    choices = F.one_hot(torch.cat([e for _, _, e, _ in routing]), config.num_local_experts).sum(1).to(probs.dtype)
    return config.num_local_experts * (choices.mean(0) * probs.mean(0)).sum()


def losses(weights, config, ids):
    """Total, cross entropy over the B*(T-1) next tokens, and balance loss (zero for a dense model)."""
    logits, routing = reference(weights, config, ids)
    entropy = F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    aux = balance_loss(config, routing) if routing else torch.zeros_like(entropy)
    return entropy + getattr(config, "router_aux_loss_coef", 0.0) * aux, entropy, aux, routing


# --- Files ------------------------------------------------------------------------------------------------------

def old_spelling(config, dtype):
    """The keys that transformers 4 wrote: rope_theta at the top level and torch_dtype."""
    new = config.to_dict()
    keys = ["architectures", "attention_dropout", "bos_token_id", "eos_token_id", "hidden_act", "hidden_size",
            "initializer_range", "intermediate_size", "max_position_embeddings", "model_type", "num_attention_heads",
            "num_experts_per_tok", "num_hidden_layers", "num_key_value_heads", "num_local_experts",
            "output_router_logits", "rms_norm_eps", "router_aux_loss_coef", "sliding_window", "tie_word_embeddings",
            "use_cache", "vocab_size"]
    old = {key: new[key] for key in keys if key in new}
    old |= {"rope_theta": config.rope_parameters["rope_theta"], "torch_dtype": dtype, "transformers_version": "4.36.0"}
    return dict(sorted(old.items()))


def save_hf(folder, config, weights, dtype=torch.float32, old_config=False, **options):
    """Saves with transformers, then proves that the files hold exactly these weights under the classic names."""
    model = build_model(config, weights).to(dtype)
    model.save_pretrained(folder, **options)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if old_config:
        text = json.dumps(old_spelling(config, str(dtype).removeprefix("torch.")), indent=2)
        (folder / "config.json").write_text(text + "\n")
    stored = {}
    for file in sorted(folder.glob("model*.safetensors")):
        stored |= load_file(file)
    expected = weights if options.get("save_original_format", True) else to_fused(weights)
    assert stored.keys() == expected.keys(), stored.keys() ^ expected.keys()
    assert all(torch.equal(stored[name], expected[name].to(dtype)) for name in stored)
    return {name: tensor.float() for name, tensor in to_classic(stored).items()}


def made_up_vocabulary(size):
    """Pieces, scores and token types of a small llama vocabulary, with a few byte, control and unused tokens."""
    entries = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    entries += [(f"<0x{byte:02X}>", 0.0, 6) for byte in (0x09, 0x0A, 0xC3, 0xA9)]
    letters = ["\u2581"] + [chr(c) for c in range(ord("a"), ord("z") + 1)] + list(".,?!'")
    joined = ["\u2581" + c for c in "tasiwcbhpm"] + ["he", "in", "er", "on", "re", "an", "nd", "or", "en", "es", "ou",
              "it", "is", "ed", "ing", "\u2581the", "\u2581and", "\u2581of", "\u2581to", "\u2581in", "th", "ll", "ver"]
    joined = joined[:size - len(entries) - len(letters) - 2]
    entries += [(piece, -float(rank), 1) for rank, piece in enumerate(joined + letters)]
    entries += [(f"[PAD{index}]", -10000.0, 5) for index in range(len(entries), size)]
    assert len({piece for piece, _, _ in entries}) == len(entries) == size
    return zip(*entries)


def interleave_rows(matrix, heads):
    """Half-split rotary rows of each head to interleaved ones, as llama.cpp's converter does for q and k."""
    return matrix.reshape(heads, 2, matrix.shape[0] // heads // 2, -1).transpose(1, 2).reshape(matrix.shape)


def gguf_tensors(config, weights):
    """GGUF name -> float32 tensor in row-major order, experts merged."""
    fixed = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
             "lm_head.weight": "output.weight"}
    parts = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
             "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
             "block_sparse_moe.gate": "ffn_gate_inp"}
    tensors = {fixed[name]: weights[name] for name in fixed}
    for layer in range(config.num_hidden_layers):
        prefix = f"model.layers.{layer}."
        for hf, name in parts.items():
            tensors[f"blk.{layer}.{name}.weight"] = weights[f"{prefix}{hf}.weight"]
        for name, heads in (("attn_q", config.num_attention_heads), ("attn_k", config.num_key_value_heads)):
            key = f"blk.{layer}.{name}.weight"
            tensors[key] = interleave_rows(tensors[key], heads)
        for name, part in (("gate", "w1"), ("up", "w3"), ("down", "w2")):
            tensors[f"blk.{layer}.ffn_{name}_exps.weight"] = torch.stack(
                [weights[f"{prefix}block_sparse_moe.experts.{m}.{part}.weight"]
                 for m in range(config.num_local_experts)])
    return tensors


def save_gguf(folder, config, weights, kind):
    """Writes model.gguf (norms and router F32, the rest `kind`), reads it back, returns the weights it holds."""
    path = folder / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(folder.name)
    is_f32 = kind == gguf.GGMLQuantizationType.F32
    writer.add_file_type(gguf.LlamaFileType.ALL_F32 if is_f32 else gguf.LlamaFileType.MOSTLY_BF16)
    writer.add_quantization_version(2)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim(config))
    writer.add_value_length(head_dim(config))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(head_dim(config))
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_expert_count(config.num_local_experts)
    writer.add_expert_used_count(config.num_experts_per_tok)
    writer.add_vocab_size(config.vocab_size)
    tokens, scores, types = made_up_vocabulary(config.vocab_size)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    for name, tensor in gguf_tensors(config, weights).items():
        exact = tensor.dim() == 1 or "ffn_gate_inp" in name
        type_ = gguf.GGMLQuantizationType.F32 if exact else kind
        data = np.ascontiguousarray(tensor.numpy())
        writer.add_tensor(name, data if exact or is_f32 else gguf.quants.quantize(data, type_), raw_dtype=type_)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    rounded = {name: w if is_f32 or w.dim() == 1 or name.endswith("moe.gate.weight") else w.bfloat16().float()
               for name, w in weights.items()}
    expected = gguf_tensors(config, rounded)
    stored = {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(path).tensors}
    assert stored.keys() == expected.keys()
    for name in stored:
        assert np.array_equal(stored[name].reshape(expected[name].shape), expected[name].numpy()), name
    return rounded


# --- Forward cases ------------------------------------------------------------------------------------------------

def seeded_weights(config, ids, first_seed, roundings=(torch.float32, torch.bfloat16, torch.float16)):
    """The first seed whose routing stays clear of ties in every precision it will be stored in."""
    for seed in range(first_seed, first_seed + 5000):
        weights = make_weights(config, seed)
        margins = []
        for dtype in roundings:
            rounded = {name: w.to(dtype).double() for name, w in weights.items()}
            margins.append(routing_margin(config, reference(rounded, config, ids)[1]))
        if min(margins) > MIN_MARGIN:
            return weights, seed
    raise SystemExit("no seed keeps the routing clear of ties")


def forward_golden(folder, config, model, weights, ids, note):
    """Writes golden.safetensors from `model` and returns the manifest entry; `weights` feed the second opinion."""
    records = []
    hooks = [module.register_forward_hook(lambda _, __, output: records.append(output))
             for module in model.modules() if isinstance(module, MixtralTopKRouter)]
    with torch.no_grad():
        logits = model(ids).logits[0]
    for hook in hooks:
        hook.remove()
    golden = {"ids": ids[0].clone(), "logits": logits.contiguous()}
    if records:
        golden["experts"] = torch.stack([experts for _, _, experts in records])
        golden["gates"] = torch.stack([gates for _, gates, _ in records])
        golden["probs"] = torch.stack([z.softmax(-1) for z, _, _ in records])
    truth, routing = reference(doubles(weights), config, ids)
    margin, error = routing_margin(config, routing), float((logits - truth[0]).abs().max())
    assert margin > MIN_MARGIN and error < 1e-4, (folder.name, margin, error)
    if records:
        assert torch.equal(golden["experts"], torch.stack([e for _, _, e, _ in routing])), folder.name
    save_file(golden, folder / "golden.safetensors")
    entry = note | {"max_abs_logit": round(float(logits.abs().max()), 3),
                    "max_abs_error_vs_float64": float(f"{error:.1e}")}
    return entry | ({"min_routing_margin": float(f"{margin:.1e}")} if routing else {})


def make_forward_cases(root):
    entries, golden_logits = {}, {}

    def case(name, config, weights, ids, save=save_hf, model_from_disk=True, **options):
        folder = root / name
        folder.mkdir()
        kind = options["kind"].name if "kind" in options else str(options.get("dtype", torch.float32))
        note = {"weights": kind.lower().removeprefix("torch.")}
        stored = save(folder, config, weights, **options)
        if model_from_disk:
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **EAGER).eval()
        else:
            model = build_model(config, stored)
        entries[name] = forward_golden(folder, config, model, stored, ids, note)
        golden_logits[name] = load_file(folder / "golden.safetensors")["logits"]

    def fresh(config, seed, **options):
        ids = torch.randint(3, config.vocab_size, (1, PROMPT_TOKENS), generator=torch.Generator().manual_seed(seed))
        ids[0, 0] = 1
        return (config, seeded_weights(config, ids, seed, **options)[0], ids)

    mixtral = fresh(mixtral_config(), 1000)
    case("mixtral", *mixtral)
    case("mixtral_fused", *mixtral, save_original_format=False)
    case("mixtral_sharded", *mixtral, max_shard_size="130KB")
    case("mixtral_bf16", *mixtral, dtype=torch.bfloat16, old_config=True)
    case("mixtral_f16", *mixtral, dtype=torch.float16)
    case("mixtral_gguf_f32", *mixtral, save=save_gguf, model_from_disk=False, kind=gguf.GGMLQuantizationType.F32)
    case("mixtral_gguf_bf16", *mixtral, save=save_gguf, model_from_disk=False, kind=gguf.GGMLQuantizationType.BF16)
    for name in ("mixtral_fused", "mixtral_sharded", "mixtral_gguf_f32"):
        assert torch.equal(golden_logits[name], golden_logits["mixtral"]), name
    assert len(list((root / "mixtral_sharded").glob("model-*-of-00003.safetensors"))) == 3

    bf16 = dict(roundings=(torch.bfloat16,))
    case("mixtral_head_dim", *fresh(mixtral_config(head_dim=32, intermediate_size=24), 2000, **bf16),
         dtype=torch.bfloat16)
    case("mixtral_4_of_16", *fresh(mixtral_config(num_local_experts=16, num_experts_per_tok=4, intermediate_size=16),
                                   3000, **bf16), dtype=torch.bfloat16)
    case("mixtral_top1", *fresh(mixtral_config(num_experts_per_tok=1), 4000, **bf16), dtype=torch.bfloat16)

    window = fresh(dense_config(MistralConfig, sliding_window=8), 5000)
    case("mistral_window", *window, dtype=torch.bfloat16, old_config=True)
    full = reference(doubles(window[1]), dense_config(MistralConfig, sliding_window=None), window[2])[0][0]
    change = (golden_logits["mistral_window"] - full).abs().amax(-1)
    assert change[:8].max() < 0.2 < change[8:].min(), change     # bfloat16 rounding below, the window above
    case("llama_tied", *fresh(dense_config(LlamaConfig, num_key_value_heads=4, tie_word_embeddings=True), 6000),
         dtype=torch.bfloat16)
    nested = dense_config(MistralConfig, hidden_size=32, sliding_window=None,
                          rope_parameters={"rope_type": "default", "rope_theta": 777.0})
    case("mistral_theta_nested", *fresh(nested, 7000), dtype=torch.bfloat16)
    return entries


# --- Training cases -------------------------------------------------------------------------------------------------

def optimizer_for(parameters):
    """AdamW with decay on matrices, none on norm vectors."""
    groups = [{"params": [p for p in parameters if p.dim() > 1], "weight_decay": TRAIN["weight_decay"]},
              {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=TRAIN["lr"], betas=TRAIN["betas"], eps=TRAIN["eps"], foreach=False)


def run_steps(parameters, batches, compute):
    """Steps of forward, backward, clip, update. Returns {name: [steps]} and the gradients of the first step."""
    optimizer, rows, first = optimizer_for(list(parameters.values())), [], None
    for ids in batches:
        optimizer.zero_grad()
        loss, entropy, aux = compute(ids)
        loss.backward()
        if first is None:
            first = {name: p.grad.detach().clone() for name, p in parameters.items()}
        norm = torch.nn.utils.clip_grad_norm_(list(parameters.values()), TRAIN["clip"], foreach=False)
        rows.append([value.item() for value in (loss, entropy, aux, norm)])
        optimizer.step()
    columns = torch.tensor(rows, dtype=torch.float64).T
    return dict(zip(("loss", "cross_entropy", "aux_loss", "grad_norm"), columns)), first


def leaves(weights):
    return {name: w.double().requires_grad_() for name, w in weights.items()}


def truth_run(config, weights, batches):
    """The float64 run: steps, gradients of step 0, final weights, smallest routing margin of all steps."""
    parameters, margins = leaves(weights), []

    def compute(ids):
        loss, entropy, aux, routing = losses(parameters, config, ids)
        margins.append(routing_margin(config, routing, ordered=False))
        return loss, entropy, aux

    steps, gradients = run_steps(parameters, batches, compute)
    return steps, gradients, {name: p.detach() for name, p in parameters.items()}, min(margins)


def transformers_run(folder, config, batches):
    """The same run by transformers in float32, gradients and weights back under the classic names."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **EAGER).train()

    def compute(ids):
        out = model(ids, labels=ids)
        if config.model_type != "mixtral":
            return out.loss, out.loss, torch.zeros(())
        routing = [(z, z.softmax(-1), z.softmax(-1).topk(config.num_experts_per_tok)[1], None)
                   for z in out.router_logits]
        own = balance_loss(config, routing)
        again = load_balancing_loss_func(out.router_logits, config.num_local_experts, config.num_experts_per_tok)
        assert abs(out.aux_loss - own) < 1e-5 and torch.equal(again, out.aux_loss)  # real logits, right formula
        entropy = F.cross_entropy(out.logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        assert abs(out.loss - entropy - config.router_aux_loss_coef * out.aux_loss) < 1e-5
        return out.loss, entropy, out.aux_loss

    parameters = dict(model.named_parameters())
    steps, gradients = run_steps(parameters, batches, compute)
    return steps, to_classic(gradients), to_classic({name: p.detach() for name, p in parameters.items()})


def floats(tensors):
    return {name: tensor.float().contiguous() for name, tensor in tensors.items()}


def relative_error(found, truth):
    """The largest over the tensors of |found - truth| / |truth| (Frobenius)."""
    assert found.keys() == truth.keys()
    return max(float((found[n] - truth[n]).norm() / truth[n].norm().clamp_min(1e-30)) for n in truth)


def training_case(root, name, config, first_seed, steps, keep_final):
    folder = root / name
    folder.mkdir()
    for seed in range(first_seed, first_seed + 2000):
        generator = torch.Generator().manual_seed(seed)
        batches = torch.randint(0, config.vocab_size, (steps, TRAIN["batch"], TRAIN["sequence"]), generator=generator)
        weights = make_weights(config, seed)
        if routing_margin(config, losses(doubles(weights), config, batches[0])[3], ordered=False) <= MIN_MARGIN:
            continue
        truth, gradients, final, margin = truth_run(config, weights, batches)
        if margin > MIN_TRAINING_MARGIN:
            break
    else:
        raise SystemExit(f"{name}: no seed keeps the routing clear of ties")
    save_hf(folder, config, weights)
    theirs, their_gradients, their_final = transformers_run(folder, config, batches)
    gradient_error = relative_error(their_gradients, gradients)
    step_error = max(float((theirs[key] - truth[key]).abs().max()) for key in truth)
    assert gradient_error < 1e-4 and step_error < 2e-3, (name, gradient_error, step_error)
    save_file(floats(gradients), folder / "grads.safetensors")
    save_file(floats(truth) | {"ids": batches} | {f"{key}_torch_f32": v.float() for key, v in theirs.items()},
              folder / "steps.safetensors")
    entry = {"weights": "float32", "gradients": "float64 autograd, rounded to float32", "seed": seed,
             "transformers_f32_vs_truth": {"gradients_relative": float(f"{gradient_error:.1e}"),
                                           "steps_absolute": float(f"{step_error:.1e}")}}
    if config.model_type == "mixtral":
        entry["min_routing_margin"] = float(f"{margin:.1e}")
    if keep_final:
        save_file(floats(final), folder / "final.safetensors")
        worst = max(float((their_final[n] - final[n]).abs().max()) for n in final)
        entry["transformers_f32_vs_truth"]["final_weights_absolute"] = float(f"{worst:.1e}")
        entry["optimizer"] = TRAIN
    return entry


def make_training_cases(root):
    shape = dict(vocab_size=64, hidden_size=32, intermediate_size=48)
    mixtral = mixtral_config(**shape, output_router_logits=True)
    llama = dense_config(LlamaConfig, **shape, tie_word_embeddings=True)
    return {"train_mixtral": training_case(root, "train_mixtral", mixtral, 8000, TRAIN["steps"], True),
            "train_llama": training_case(root, "train_llama", llama, 9000, 1, False)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=REPOSITORY / "tests" / "goldens")
    root = parser.parse_args().out
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if root.exists() and any(root.iterdir()) and not (root / "manifest.json").exists():
        raise SystemExit(f"{root}: is not empty and holds no manifest.json, so it is not replaced")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    import router_goldens  # reads this module  # pylint: disable=import-outside-toplevel,cyclic-import
    cases = make_forward_cases(root) | make_training_cases(root) | router_goldens.make_router_cases(root)
    for name, entry in cases.items():
        files = sorted((root / name).iterdir())
        entry["files"] = [file.name for file in files]
        size = sum(file.stat().st_size for file in files)
        assert size < MAX_FOLDER_BYTES or name.startswith("train_"), (name, size)
    packages = ("torch", "transformers", "safetensors", "gguf", "numpy")
    manifest = {"command": "python tools/make_goldens.py",
                "python": platform.python_version(),
                "packages": {name: importlib.metadata.version(name) for name in packages},
                "settings": "cpu, float32, one thread, eager attention, eager experts",
                "cases": cases}
    (root / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    total = sum(file.stat().st_size for file in root.rglob("*") if file.is_file())
    assert total < MAX_TOTAL_BYTES, total
    print(json.dumps(manifest, indent=1), total)


if __name__ == "__main__":
    main()
