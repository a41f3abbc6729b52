#!/usr/bin/env python3
"""Bits per byte of a training run's last validation beside those of `xz -9e` on the same texts, as a Markdown table.

Usage: compression_table.py CONFIG RUN CORPUS
CONFIG: the run's configuration (its data.valid is read); RUN: the folder of the run; CORPUS: the folder of the data files.
Needs the program zstd for .zst files.
"""

import json
import lzma
import pathlib
import subprocess
import sys


def texts(path):
    raw = path.read_bytes()
    if path.suffix == ".zst":
        raw = subprocess.run(["zstd", "-dc", path], check=True, capture_output=True).stdout
    return [json.loads(line)["text"].encode() for line in raw.splitlines() if line.strip()]


def xz_bits_per_byte(text):
    return 8 * len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)) / len(text)


def main():
    config_path, run, corpus = map(pathlib.Path, sys.argv[1:4])
    groups = json.loads(config_path.read_text())["data"]["valid"]
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    rows, everything, bits = [], b"", 0.0
    for group, files in groups.items():
        documents = [text for name in files for text in texts(corpus / name)]
        text = b"\n".join(documents)
        num_bytes = sum(map(len, documents))
        model = last["valid"][group]["bits_per_byte"]
        bits += model * num_bytes
        everything += text + b"\n"
        rows.append((group, num_bytes, model, xz_bits_per_byte(text)))
    num_bytes = sum(row[1] for row in rows)
    rows.append(("all", num_bytes, bits / num_bytes, xz_bits_per_byte(everything)))
    print("| text | bytes | model, bits per byte | xz -9e | model / xz |\n|---|---|---|---|---|")
    for group, size, model, xz in rows:
        print(f"| {group} | {size} | {model:.3f} | {xz:.3f} | {model / xz:.2f} |")


if __name__ == "__main__":
    main()
