#!/usr/bin/env python3
"""Writes the golden of low-rank adapters under tests/goldens/lora: two folders that PEFT writes for the tiny model of
tests/goldens/mixtral, and the logits it computes with them in float64.

together: attention, and the experts of a layer together, as PEFT adapts transformers 5's Mixtral (target_parameters).
attention: attention alone, rank-stabilised, with another alpha for v.
"""

import argparse
import importlib.metadata
import json
import pathlib

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
CASES = {
    "together": LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
                           target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]),
    "attention": LoraConfig(r=4, lora_alpha=6, use_rslora=True, target_modules=["q_proj", "v_proj"], alpha_pattern={"v_proj": 9}),
}


def write(name, config, base, folder):
    """Saves the adapter and returns {tensor: value} of its logits."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, experts_implementation="eager")
    model = get_peft_model(model, config)
    generator = torch.Generator().manual_seed(len(name))
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if "lora_" in parameter_name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    settings = json.loads((folder / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = "tests/goldens/mixtral"
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n")
    ids = torch.randint(3, model.config.vocab_size, (1, 24), generator=generator)
    with torch.no_grad():
        logits = model.double()(input_ids=ids).logits[0]
        plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float64, experts_implementation="eager")(input_ids=ids).logits[0]
    print(f"{name}: logits up to {logits.abs().max():.2f}, changed by up to {(logits - plain).abs().max():.2f}")
    return {f"{name}.ids": ids[0].contiguous(), f"{name}.logits": logits.float().contiguous()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=REPOSITORY / "tests/goldens")
    arguments = parser.parse_args()
    folder = arguments.out / "lora"
    values = {}
    for name, config in CASES.items():
        values |= write(name, config, arguments.out / "mixtral", folder / name)
    save_file(values, folder / "golden.safetensors")
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    packages = {name: importlib.metadata.version(name) for name in ["torch", "transformers", "peft", "safetensors"]}
    path = arguments.out / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["cases"]["lora"] = {"command": "python tools/make_lora_goldens.py", "packages": packages, "files": files}
    path.write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
