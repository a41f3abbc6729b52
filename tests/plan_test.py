#!/usr/bin/env python3
"""cadre plan as its users meet it: memory and speed before anything is loaded, types to choose from, one clear error for what is wrong; and bench
beside it. CADRE_PROGRAM names the program, CADRE_SOURCE_DIR the repository."""

import json
import os
import re
import subprocess
import tempfile
import time
import unittest

from server_process import INSTRUMENTED, NANO, PROGRAM


def cadre(*arguments):
    """Exit code, standard output and standard error of one run."""
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def least_budget(*arguments):
    """Bytes that the program says the run needs."""
    code, out, said = cadre(*arguments, "--memory", "1M")
    found = re.search(r"needs (\d+)M at least", said)
    assert (code, out, said.count("\n")) == (1, "", 1) and found, said
    return int(found[1]) * 1_000_000


class Plan(unittest.TestCase):
    def plan(self, *arguments):
        code, out, said = cadre("plan", NANO, *arguments, "--json")
        self.assertEqual(code, 0, said)
        return json.loads(out)

    def test_says_memory_speed_and_types(self):
        begin = time.monotonic()
        plan = self.plan()
        if not INSTRUMENTED:
            self.assertLess(time.monotonic() - begin, 30)  # some 5 seconds where nothing else runs
        for key in ("prompt_tokens_per_s", "generate_tokens_per_s", "first_token_s", "resident_bytes", "load_s"):
            self.assertGreater(plan[key], 0, key)
        self.assertEqual(plan["hit_rate"], 1)
        self.assertEqual(plan["memory"]["slots"], 32)
        self.assertGreater(plan["resident_bytes"], 9_000_000)
        self.assertTrue(plan["routing"]["choices_are_assumed"])
        types = {row["type"]: row for row in plan["types"]}
        self.assertEqual(len(types), 16)
        self.assertTrue(types["Q8_0"]["is_this_file"])
        self.assertLess(types["Q2_K"]["stored_bytes"], types["Q8_0"]["stored_bytes"])
        self.assertIn(plan["best_type"], types)

    def test_a_budget_is_shared_out_as_a_run_shares_it(self):
        least = least_budget("plan", NANO)
        # The program itself has up to a megabyte more in one run than in another.
        small, large = (self.plan("--memory", least + more) for more in (2_000_000, 6_000_000))
        self.assertLessEqual(small["resident_bytes"], least + 2_000_000)
        self.assertLessEqual(large["resident_bytes"], least + 6_000_000)
        self.assertLess(small["memory"]["slots"], large["memory"]["slots"])
        self.assertLess(small["hit_rate"], large["hit_rate"])
        self.assertGreater(small["disk_bytes_per_token"], large["disk_bytes_per_token"])

    def test_more_sequences_and_longer_ones_take_more_memory(self):
        kv = [self.plan(*options)["memory"]["kv_bytes"] for options in ([], ["--context", 512], ["--context", 512, "--parallel", 4])]
        self.assertLessEqual(kv[0], kv[1] + 3 * 2048 * 256)
        self.assertGreater(kv[2], 3 * kv[1])

    def test_routing_comes_from_the_files_of_other_commands(self):
        with tempfile.TemporaryDirectory() as folder:
            trace, run = os.path.join(folder, "routing.json"), os.path.join(folder, "run.json")
            ids = " ".join(str(3 + 7 * i) for i in range(100))
            self.assertEqual(cadre("logits", NANO, "--ids", ids, "--out", os.path.join(folder, "x.npy"), "--routing", trace)[0], 0)
            run_of = ["generate", NANO, "-p", "Once upon a time", "-n", 40]
            code, out, said = cadre(*run_of, "--memory", least_budget(*run_of) + 3_000_000, "--json")
            self.assertEqual(code, 0, said)
            with open(run, "w", encoding="utf-8") as file:
                file.write(out)
            budget = least_budget("plan", NANO) + 2_000_000
            plan = self.plan("--memory", budget, "--routing", trace, "--routing", run)
            self.assertIn("100 tokens", plan["routing"]["choices"])
            self.assertFalse(plan["routing"]["choices_are_assumed"])
            self.assertEqual(plan["routing"]["foreseen"], json.loads(out)["experts"]["foreseen"])
            with open(trace, "w", encoding="utf-8") as file:
                file.write('{"layers": []}')
            code, _, said = cadre("plan", NANO, "--memory", budget, "--routing", trace)
            self.assertEqual((code, said.count("\n")), (1, 1), said)
            self.assertIn("of 0 layers but the model has 4", said)

    def test_a_report_for_people(self):
        code, out, said = cadre("plan", NANO, "--memory", least_budget("plan", NANO) + 2_000_000)
        self.assertEqual(code, 0, said)
        for words in ("weights that every token needs", "of 32 experts", "assumed", "tokens/s", "suits this machine best", "Q4_K_M"):
            self.assertIn(words, out)
        print(out)

    def test_what_is_not_there_is_one_clear_error(self):
        for model in ("mistralai/Mixtral-8x7B-v0.1", "absent.gguf"):
            code, out, said = cadre("plan", model)
            self.assertEqual((code, out, said.count("\n")), (1, "", 1), said)
            self.assertIn("is neither a file nor a folder", said)
        self.assertEqual(cadre("plan", NANO, "--routing", "absent.json")[0], 2)

    def test_bench_prints_it_beside_what_it_measures(self):
        run = ["bench", NANO, "-p", 64, "-n", 8, "--repeat", 1, "--json"]
        for options in ([], ["--memory", least_budget(*run) + 2_000_000]):
            code, out, said = cadre(*run, *options)
            self.assertEqual(code, 0, said)
            predicted = json.loads(out)["predicted"]
            self.assertGreater(predicted["prompt_tokens_per_s"], 0)
            self.assertGreater(predicted["generate_tokens_per_s"], 0)
        code, out, said = cadre("bench", NANO, "-p", 64, "-n", 8, "--repeat", 1)
        self.assertIn("predicted prompt ", out)


if __name__ == "__main__":
    unittest.main()
