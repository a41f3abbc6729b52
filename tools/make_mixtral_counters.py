#!/usr/bin/env python3
"""Writes tests/goldens/mixtral_counters from the routing counters that the authors of OLMoE published for Mixtral-8x7B-v0.1.

Usage: make_mixtral_counters.py CLONE_OF_ALLENAI_OLMOE

Counts alone are kept: of experts by domain, of first choices in two layers, and, for each token id, of its choices by domain and expert; the
ids are left out, and equal rows are written once with how often they occur. Needs zstd.
"""

import collections
import json
import pathlib
import pickle
import re
import subprocess
import sys

DOMAINS = ["arxiv", "book", "c4", "github", "wikipedia"]
LAYERS = [0, 7, 15]
EXPERTS = range(8)


class DType:
    def __init__(self, *_):
        pass

    def __setstate__(self, _):
        pass


class CountsOnly(pickle.Unpickler):
    """Loads dictionaries of integers and nothing else: a pickle could run any code."""

    KNOWN = {
        ("collections", "Counter"): collections.Counter,
        ("collections", "defaultdict"): collections.defaultdict,
        ("numpy", "dtype"): DType,
        ("numpy.core.multiarray", "scalar"): lambda _, data: int.from_bytes(data, "little"),
    }

    def find_class(self, module, name):
        if (module, name) not in self.KNOWN:
            raise pickle.UnpicklingError(f"{module}.{name} is no count")
        return self.KNOWN[module, name]


def main():
    folder = pathlib.Path(sys.argv[1]) / "scripts" / "routing_output" / "mistral"
    out = pathlib.Path(__file__).resolve().parent.parent / "tests" / "goldens" / "mixtral_counters"
    out.mkdir(exist_ok=True)

    def load(kind, domain):
        with open(folder / kind / f"{domain}.pkl", "rb") as file:
            return CountsOnly(file).load()

    every = {d: load("expert_counts", d) for d in DOMAINS}
    first = {d: load("expert_counts_top1", d) for d in DOMAINS}
    across = {d: load("expert_counts_crosslayer_top1", d) for d in DOMAINS}
    tokens = {d: load("eid2token", d) for d in DOMAINS}
    golden = {
        "origin": "github.com/allenai/OLMoE, commit 357454f, scripts/routing_output/mistral: expert_counts, expert_counts_top1, "
                  "expert_counts_crosslayer_top1, eid2token",
        "licence": "Apache-2.0",
        "what": "choices of the experts of Mixtral-8x7B-v0.1 over 208896 tokens of each domain, two for each token",
        "model_layers": LAYERS,
        "domains": DOMAINS,
        "layers": [{"all": [[every[d][i].get(e, 0) for e in EXPERTS] for d in DOMAINS],
                    "first": [[first[d][i].get(e, 0) for e in EXPERTS] for d in DOMAINS]} for i in range(len(LAYERS))],
        "first_choices_of_two_layers": [],
    }
    for i in range(len(LAYERS) - 1):
        sums = sum((across[d][i] for d in DOMAINS), collections.Counter())
        golden["first_choices_of_two_layers"].append(
            {"from": LAYERS[i], "to": LAYERS[i + 1], "counts": [[sums[a, b] for b in EXPERTS] for a in EXPERTS]})
    text = json.dumps(golden, indent=1)
    text = re.sub(r"\[\s+((?:\d+,?\s+)+)\]", lambda match: "[" + " ".join(match.group(1).split()) + "]", text)
    (out / "counts.json").write_text(text + "\n", encoding="utf-8")

    lines = []
    for i in range(len(LAYERS)):
        by_id = collections.defaultdict(lambda: [0] * (len(DOMAINS) * len(EXPERTS)))
        for d, domain in enumerate(DOMAINS):
            for expert in EXPERTS:
                for token, count in tokens[domain][i].get(expert, {}).items():
                    by_id[token][d * len(EXPERTS) + expert] += count
        times = collections.Counter(tuple(row) for row in by_id.values())
        lines += [" ".join(map(str, [i, count, *row])) + "\n" for row, count in sorted(times.items())]
    subprocess.run(["zstd", "-19", "-f", "-q", "-o", str(out / "tokens.txt.zst")], input="".join(lines).encode(), check=True)


if __name__ == "__main__":
    main()
