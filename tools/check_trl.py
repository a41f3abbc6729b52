#!/usr/bin/env python3
"""Compares the goldens of preference optimisation (tests/goldens/preferences, which align_test holds the program to) with TRL's own
DPOTrainer on the same pairs and weights: losses, the gradients of weights and the metrics it logs. Ends with 1 on a difference.

    tools/check_trl.py FOLDER      nano as a Hugging Face folder: TRL wants a tokenizer, the pairs are given as ids

TRL's sigmoid has no label smoothing: of our cases the conservative one is not compared here.
"""

import argparse
import json
import pathlib
import sys
import tempfile

import torch
from datasets import Dataset
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

from make_align_goldens import BETA, GRADIENTS, PAIRS, SFT, SMOOTHING
from make_goldens import REPOSITORY

CASES = {"sigmoid": (["sigmoid"], None), "robust": (["robust"], None), "hinge": (["hinge"], None), "ipo_mean": (["ipo"], None),
         "sigmoid_sft": (["sigmoid", "sft"], [1.0, SFT])}
METRICS = ["rewards/chosen", "rewards/rejected", "rewards/accuracies", "logps/chosen", "logps/rejected", "logits/chosen",
           "logits/rejected", "mean_token_accuracy", "entropy"]
TOLERANCE = 1e-5


def inputs_of(golden):
    """TRL's batch: all chosen sequences, then all rejected."""
    order = list(range(0, 2 * len(PAIRS), 2)) + list(range(1, 2 * len(PAIRS), 2))
    tokens = golden["tokens"][order]
    places = torch.arange(tokens.shape[1])
    real = tokens >= 0
    answer = real & (places[None, :] >= golden["prompts"][order][:, None])
    return {"input_ids": tokens.clamp(min=0), "attention_mask": real.long(), "completion_mask": answer.long()}


def model_of(weights):
    source = REPOSITORY / "tests" / "goldens" / "train_mixtral"
    config = AutoConfig.from_pretrained(source, attn_implementation="eager", experts_implementation="eager")
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        (pathlib.Path(folder) / "model.safetensors").write_bytes((source / weights).read_bytes())
        return AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32)


def trainer_of(case, tokenizer, folder):
    losses, weights = CASES[case]
    arguments = DPOConfig(output_dir=folder, beta=BETA, loss_type=losses, loss_weights=weights, report_to=[], use_cpu=True, bf16=False,
                          label_smoothing=SMOOTHING if case == "robust" else 0.0, disable_dropout=True, gradient_checkpointing=False,
                          router_aux_loss_coef=0.0)  # the balance loss is compared elsewhere
    pairs = Dataset.from_dict({"prompt": ["a"], "chosen": ["b"], "rejected": ["c"]})
    return DPOTrainer(model=model_of("model.safetensors"), ref_model=model_of("final.safetensors"), args=arguments, train_dataset=pairs,
                      processing_class=tokenizer)


def gradient_of(model, name):
    """Of a weight by its name in the files; recent transformers keep all experts of a layer in one tensor."""
    parameters = dict(model.named_parameters())
    if name in parameters:
        return parameters[name].grad
    fused = name.replace("block_sparse_moe", "mlp")
    if fused in parameters:
        return parameters[fused].grad
    expert = int(fused.split("experts.")[1].split(".")[0])
    return parameters[fused.split("experts.")[0] + "experts.down_proj"].grad[expert]


def difference(found, expected):
    expected = torch.as_tensor(expected, dtype=torch.float64)
    found = torch.as_tensor(found, dtype=torch.float64)
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1.0))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizer", type=pathlib.Path)
    parser.add_argument("--all", action="store_true", help="print every difference")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    golden = load_file(REPOSITORY / "tests" / "goldens" / "preferences" / "golden.safetensors")
    tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer)
    tokenizer.pad_token = tokenizer.eos_token
    inputs, worst = inputs_of(golden), 0.0
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            trainer = trainer_of(case, tokenizer, folder)
            trainer.model.train()
            loss = trainer._compute_loss(trainer.model, inputs, False)
            loss.backward()
        found = {"loss": difference(loss.item(), golden[f"{case}.loss"].item())}
        for name in GRADIENTS:
            found[name] = difference(gradient_of(trainer.model, name), golden[f"{case}.{name}"])
        for name, expected in zip(METRICS, golden["metrics"].tolist()):
            found[name] = difference(trainer._metrics["train"][name][-1], expected)
        worst = max(worst, *found.values())
        if arguments.all:
            print(json.dumps({name: float(f"{value:.1e}") for name, value in found.items()}))
        print(case, f"loss {loss.item():.7f}", "largest difference", *max(found.items(), key=lambda item: item[1]))
    print(f"largest difference of all {worst:.1e}, allowed {TOLERANCE:.0e}")
    return worst > TOLERANCE


if __name__ == "__main__":
    sys.exit(main())
