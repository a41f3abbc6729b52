#!/usr/bin/env python3
"""bench_kernels, briefly: every kernel is there, with figures that a measurement can have. CADRE_BENCH_KERNELS names the program.

Usage: bench_kernels_test.py ISA; exit 77 (skipped) where the machine lacks it.
"""

import json
import math
import os
import subprocess
import sys
import unittest

PROGRAM = os.environ["CADRE_BENCH_KERNELS"]
SKIPPED = 77

FLOATS = {"F32", "F16", "BF16"}
QUANTISED = {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"}
KV_TYPES = {"f32", "f16", "bf16", "q8"}
# Kernel -> the types that must be there.
KERNELS = {
    "float_dots": {"F32"},
    "decode_row": FLOATS | QUANTISED,
    "attend": KV_TYPES,
    "store_kv": KV_TYPES,
    "rms_norm": {""},
    "rotate": {"halves", "pairs"},
    "add": {""},
    "swiglu": {""},
    "add_scaled": {""},
}
ROW_KERNELS = {"byte_dots": {"Q4_0", "Q4_1"}, "unpack_row": QUANTISED, "round_row": {"of 32", "of 256"}}
PANEL_TOKENS = {1, 2, 4, 8, 12, 16, 32, 128}


def bench(*arguments):
    command = [PROGRAM, "--seconds", "1e-4", "--memory", "8", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)


class BenchKernelsTest(unittest.TestCase):
    isa = ""

    @classmethod
    def setUpClass(cls):
        done = bench("--isa", cls.isa, "--json")
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        result = json.loads(done.stdout)
        cls.rows = result["rows"]
        if result["isa"] != cls.isa:
            raise AssertionError(result["isa"])

    def expected(self):
        if self.isa == "scalar":
            return KERNELS | ROW_KERNELS
        packed = QUANTISED | ({"F16", "BF16"} if self.isa in ("avx512", "amx") else set())
        return KERNELS | {"panel_dots": packed, "panel_pack": packed, "panel_round": packed}

    def test_every_kernel_is_there_in_every_type(self):
        found = {}
        for row in self.rows:
            found.setdefault(row["kernel"], set()).add(row["type"])
        self.assertEqual(found.keys(), self.expected().keys())
        for kernel, types in self.expected().items():
            self.assertLessEqual(types, found[kernel], kernel)

    def test_panels_meet_all_counts_of_tokens(self):
        for name in self.expected().get("panel_dots", ()):
            rows = [row for row in self.rows if row["kernel"] == "panel_dots" and row["type"] == name]
            self.assertEqual({row["tokens"] for row in rows if row["from"] == "cache"}, PANEL_TOKENS)
            self.assertEqual({row["tokens"] for row in rows if row["from"] == "memory"}, {1})

    def test_figures_are_finite_and_positive(self):
        for row in self.rows:
            for key in ("figure", "limit_figure", "share", "share_low", "share_high"):
                self.assertTrue(math.isfinite(row[key]) and row[key] > 0, (key, row))
            self.assertLessEqual(row["share_low"], row["share_high"])

    def test_only_what_was_asked_for_is_measured_and_printed_as_a_table(self):
        done = bench("--isa", self.isa, "--only", "store_kv q8")
        self.assertEqual(done.returncode, 0, done.stderr)
        head, *rows = done.stdout.splitlines()
        self.assertEqual(head.split()[:3], ["kernel", "type", "tokens"])
        self.assertEqual([row.split()[:3] for row in rows], [["store_kv", "q8", "1"]])


class UsageTest(unittest.TestCase):
    def test_a_wrong_option_is_a_usage_error(self):
        self.assertEqual(bench("--isa", "abacus").returncode, 2)

    def test_a_kernel_that_is_not_there_is_an_error(self):
        done = bench("--only", "no such kernel")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout, "")
        self.assertIn("no such kernel", done.stderr)


if __name__ == "__main__":
    BenchKernelsTest.isa = sys.argv.pop(1)
    probe = bench("--isa", BenchKernelsTest.isa, "--only", "add_scaled")
    if "that this machine has" in probe.stderr:
        sys.exit(SKIPPED)
    unittest.main()
