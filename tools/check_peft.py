#!/usr/bin/env python3
"""Compares a model with adapters, as the program runs it, with what PEFT computes from the same two folders. Ends with 1 on a difference.

    tools/check_peft.py PROGRAM MODEL ADAPTER      MODEL: a Hugging Face folder of float32; ADAPTER: of cadre sft or of PEFT
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

TOLERANCE = 1e-4  # of the largest logit


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("program", "model", "adapter"):
        parser.add_argument(name)
    arguments = parser.parse_args()
    base = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32, experts_implementation="eager").double()
    ids = torch.randint(3, base.config.vocab_size, (1, 32), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        plain = base(input_ids=ids).logits[0].numpy()
        adapted = PeftModel.from_pretrained(base, arguments.adapter).double()(input_ids=ids).logits[0].numpy()
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "logits.npy"
        subprocess.run([arguments.program, "logits", arguments.model, "--lora", arguments.adapter, "--out", str(out), "--ids",
                        " ".join(str(i) for i in ids[0].tolist())], check=True)
        ours = numpy.load(out)
    largest = numpy.abs(adapted).max()
    difference, effect = numpy.abs(ours - adapted).max() / largest, numpy.abs(adapted - plain).max() / largest
    print(f"largest logit {largest:.3f}; the adapter changes logits by up to {effect:.2e} of it; apart by {difference:.2e}")
    if difference > TOLERANCE or effect < 10 * TOLERANCE:
        sys.exit("they differ" if difference > TOLERANCE else "the adapter changes nothing")


if __name__ == "__main__":
    main()
