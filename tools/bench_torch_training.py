#!/usr/bin/env python3
"""Measures training tokens per second of transformers' MixtralForCausalLM on random tokens: the baseline to beat.

One step = forward, backward, clip to norm 1, AdamW; float32 weights, CPU, sdpa attention, balance loss on; with --bf16 the forward runs
under autocast to bfloat16. Reads a JSON
file of Hugging Face config keys, prints one JSON line per experts implementation, and writes no file.
"""

import argparse
import json
import pathlib
import resource
import statistics
import time

import torch
import transformers
from transformers import MixtralConfig, MixtralForCausalLM

WARMUP_STEPS = 1


def measure(config, implementation, batch, sequence, steps, bf16):
    """Times `steps` steps after one of warm-up. Returns the fields of the JSON line."""
    torch.manual_seed(0)
    model = MixtralForCausalLM._from_config(config, attn_implementation="sdpa", experts_implementation=implementation,
                                            dtype=torch.float32).train()
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
                                  lr=1e-4, betas=(0.9, 0.95), eps=1e-8)
    seconds = []
    for _ in range(WARMUP_STEPS + steps):
        ids = torch.randint(0, config.vocab_size, (batch, sequence))
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = model(ids, labels=ids, output_router_logits=True, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    seconds = seconds[WARMUP_STEPS:]
    return {"implementation": implementation,
            "tokens_per_s": round(batch * sequence / statistics.median(seconds), 1),
            "fastest_tokens_per_s": round(batch * sequence / min(seconds), 1),
            "slowest_tokens_per_s": round(batch * sequence / max(seconds), 1),
            "last_loss": round(loss.item(), 4),
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}  # of all so far


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=pathlib.Path, help="JSON with Hugging Face config keys")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seq", type=int, default=256)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--implementations", default="eager,grouped_mm,batched_mm")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keys = json.loads(args.config.read_text())
    for implementation in args.implementations.split(","):
        config = MixtralConfig(**keys)
        try:
            row = measure(config, implementation, args.batch, args.seq, args.steps, args.bf16)
        except (RuntimeError, ValueError, NotImplementedError) as error:
            row = {"implementation": implementation, "error": str(error).splitlines()[0]}
        row |= {"threads": args.threads, "batch": args.batch, "seq": args.seq, "bf16": args.bf16, "steps": args.steps,
                "attention": "sdpa", "torch": torch.__version__, "transformers": transformers.__version__}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
