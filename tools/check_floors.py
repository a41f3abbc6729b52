#!/usr/bin/env python3
"""Fails when a source file includes a floor that ARCHITECTURE.md does not let it include.

Usage: check_floors.py [ROOT]
"""

import pathlib
import re
import sys

# Floor -> floors it may include. The order is that of the building, lowest first.
FLOORS = {
    "base": set(),
    "tensor": {"base"},
    "ops": {"base", "tensor"},
    "cpu": {"base", "tensor", "ops"},
    "formats": {"base", "tensor"},
    "text": {"base", "tensor"},
    "hub": {"base"},
    "sandbox": {"base"},
    "grammar": {"base", "tensor", "text"},
    "model": {"base", "tensor", "ops", "formats"},
    "store": {"base", "tensor", "ops", "formats", "model"},
    "engine": {"base", "tensor", "ops", "formats", "text", "grammar", "model"},
    "quantize": {"base", "tensor", "ops", "formats", "text", "grammar", "model", "engine"},
    "plan": {"base", "tensor", "ops", "formats", "text", "grammar", "model", "store", "engine", "quantize"},
    "train": {"base", "tensor", "ops", "formats", "text", "grammar", "model", "engine"},
    "align": {"base", "tensor", "ops", "formats", "text", "grammar", "model", "engine", "train"},
    "transfer": {"base", "tensor", "ops", "formats", "text", "grammar", "model", "engine", "train", "align"},
    "eval": {"base", "tensor", "ops", "formats", "text", "grammar", "model", "engine", "sandbox"},
    "study": {"base", "tensor", "ops", "formats", "text", "grammar", "model", "store", "engine"},
    "server": {"base", "tensor", "ops", "formats", "text", "grammar", "model", "engine"},
    "cli": {"base", "tensor", "ops", "cpu", "formats", "text", "grammar", "model", "store", "engine", "quantize", "plan", "train", "align", "transfer", "eval", "study", "server", "hub", "sandbox"},
}
# Within the model floor only these files know file formats.
MODEL_FILES_WITH_FORMATS = re.compile(r"(adapter_files|load|save|config_files|config_gguf)(_test)?\.(h|cc)$|_test\.cc$")
INCLUDE = re.compile(r'^\s*#\s*include\s+"(\w+)/', re.MULTILINE)


def violations(root):
    for path in sorted((root / "src").glob("*/**/*")):
        floor = path.relative_to(root / "src").parts[0]
        if path.suffix not in (".h", ".cc"):
            continue
        if floor not in FLOORS:
            yield f"{path.relative_to(root)}: floor '{floor}' is not in tools/check_floors.py"
            continue
        for included in INCLUDE.findall(path.read_text(encoding="utf-8")):
            if included == floor:
                continue
            if included not in FLOORS[floor]:
                yield f"{path.relative_to(root)}: includes {included}/, which {floor} may not"
            elif floor == "model" and included == "formats" and not MODEL_FILES_WITH_FORMATS.search(path.name):
                yield f"{path.relative_to(root)}: only load, save, adapter and config files of the model floor know file formats"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent)
    found = list(violations(root))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
