#!/usr/bin/env python3
"""Checks that the object files compiled for one instruction set keep their code to themselves.

usage: check_isa_objects.py BUILD_DIR

An inline function or template instantiated in a file that is compiled with, say, AVX-512 becomes a weak symbol, and the linker
may keep that copy for the whole program: then a machine without AVX-512 dies far from any kernel. So every *_avx2, *_avx512bw, *_avx512 and *_amx
object may define exactly one symbol that others see, the getter of its table (cadre::...Kernels()), and no weak one.
"""

import pathlib
import re
import subprocess
import sys

OBJECT = re.compile(r"_(avx2|avx512bw|avx512|amx)\.cc\.o$")
GETTER = re.compile(r"^cadre::(Avx2|Avx512Bw|Avx512|Amx)\w*Kernels\(\)$")


def visible_symbols(path):
    """[(type, name)] of what the object defines for others: global, weak, unique and common symbols."""
    listing = subprocess.run(["nm", "--defined-only", "-C", str(path)], check=True, capture_output=True, text=True).stdout
    symbols = []
    for line in listing.splitlines():
        match = re.match(r"^[0-9a-f]*\s+(\S)\s+(.*)$", line)
        if match and (match[1].isupper() or match[1] in "uvwi"):
            symbols.append((match[1], match[2]))
    return symbols


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    objects = sorted(p for p in pathlib.Path(sys.argv[1]).rglob("*.o") if OBJECT.search(p.name))
    if len(objects) < 2:
        sys.exit(f"{sys.argv[1]}: found {len(objects)} objects of an instruction set but expected at least 2")
    wrong = 0
    for path in objects:
        symbols = visible_symbols(path)
        getters = [name for kind, name in symbols if kind == "T" and GETTER.match(name)]
        others = [f"{kind} {name}" for kind, name in symbols if name not in getters]
        if len(getters) != 1 or others:
            wrong += 1
            print(f"{path}: defines {len(getters)} table getters and {others} but must define one getter and nothing else")
    print(f"{len(objects)} objects, {wrong} wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
