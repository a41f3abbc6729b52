#!/usr/bin/env python3
"""Fails when a golden that the manifest lists is missing, or a golden folder is read by no test.

Usage: check_goldens.py [ROOT]
"""

import json
import pathlib
import sys


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent)
    goldens = root / "tests" / "goldens"
    manifest = json.loads((goldens / "manifest.json").read_text(encoding="utf-8"))
    tests = "\n".join(p.read_text(encoding="utf-8") for p in root.glob("**/*_test.*") if "build" not in p.parts)
    problems = []
    listed = set()
    for case, entry in manifest["cases"].items():
        files = entry["files"] if isinstance(entry, dict) else entry
        for name in files:
            path = goldens / case / name if not name.startswith(case) else goldens / name
            listed.add(path)
            if not path.exists():
                problems.append(f"{path.relative_to(root)}: in the manifest but not there")
        if f'"{case}"' not in tests and f"/{case}" not in tests:
            problems.append(f"tests/goldens/{case}: no test reads it")
    for path in goldens.glob("*/**/*"):
        if path.is_file() and path not in listed:
            problems.append(f"{path.relative_to(root)}: not in the manifest")
    for line in problems:
        print(line)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
