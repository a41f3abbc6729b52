#!/usr/bin/env python3
"""Writes the logits that transformers computes for a Hugging Face model folder, for comparison with our own.

Float32, eager attention and experts, CPU. Output: an .npy of float32 [tokens, vocabulary]. Runs no code from the
folder and downloads nothing.
"""

import argparse
import pathlib

import numpy as np
import torch
from transformers import AutoModelForCausalLM


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="config.json and safetensors")
    parser.add_argument("--ids", required=True, help='token ids, for example "1 2 3"')
    parser.add_argument("--out", required=True, type=pathlib.Path, help="the .npy to write")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    ids = [int(word) for word in args.ids.split()]
    if not args.folder.is_dir():
        parser.error(f"{args.folder} is not a folder")
    model = AutoModelForCausalLM.from_pretrained(args.folder, dtype=torch.float32, attn_implementation="eager",
                                                 experts_implementation="eager", local_files_only=True).eval()
    vocabulary = model.config.vocab_size
    if not ids or min(ids) < 0 or max(ids) >= vocabulary:
        parser.error(f"--ids must be one or more numbers from 0 to {vocabulary - 1}")
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    with args.out.open("wb") as file:
        np.save(file, logits.numpy())


if __name__ == "__main__":
    main()
