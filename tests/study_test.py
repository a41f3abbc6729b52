#!/usr/bin/env python3
"""End-to-end tests of `cadre study` on nano, with texts of their own. CADRE_PROGRAM names the program, CADRE_SOURCE_DIR the repository."""

import json
import os
import pathlib
import random
import re
import resource
import shutil
import subprocess
import tempfile
import time
import unittest

PROGRAM = os.environ["CADRE_PROGRAM"]
SOURCE = pathlib.Path(os.environ["CADRE_SOURCE_DIR"])
NANO = SOURCE / "models" / "nano" / "nano.gguf"

ENGLISH = "the old man walked along a river to his mill where three daughters were at work and had seen horse".split()
GERMAN = "der alte Mann ging am Fluss entlang zu seiner Mühle wo drei Töchter bei der Arbeit waren und sangen".split()
CODE = ["for i in range(10):\n    print(i)\n", "def f(x):\n    return x + 1\n", "if (a == b) { c(); }\n", "x = [1, 2, 3]\n"]


def cadre(*arguments, timeout=600, **options):
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, timeout=timeout, check=False, **options)


class StudyTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="cadre-study-"))
        draws = random.Random(5)
        texts = cls.folder / "texts"
        texts.mkdir()
        for name, words in (("en", ENGLISH), ("de", GERMAN)):
            lines = [json.dumps({"text": " ".join(draws.choice(words) for _ in range(draws.randint(30, 90))) + "."}) for _ in range(8)]
            (texts / f"{name}.valid.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (texts / "code.txt").write_text("".join(draws.choice(CODE) for _ in range(60)) + "</script><b>&\n", encoding="utf-8")
        cls.texts = texts
        cls.study = cls.folder / "study"
        ran = cadre("study", NANO, "--data", texts, "--tokens", 400, "--out", cls.study, "--threads", 2)
        assert ran.returncode == 0, ran.stderr
        cls.stdout = ran.stdout.decode()
        cls.report = json.loads((cls.study / "report.json").read_text(encoding="utf-8"))
        cls.page = (cls.study / "report.html").read_text(encoding="utf-8")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def test_domains_are_the_files_of_the_folder(self):
        self.assertEqual([(d["name"], d["documents"] > 0) for d in self.report["domains"]], [("code", True), ("de", True), ("en", True)])
        for domain in self.report["domains"]:
            self.assertLessEqual(domain["tokens"], 400)
        self.assertEqual(sum(d["tokens"] for d in self.report["domains"]), self.report["tokens"])

    def test_shares_sum_to_one_in_every_layer_domain_and_rank(self):
        self.assertEqual([layer["layer"] for layer in self.report["layers"]], [0, 1, 2, 3])
        for layer in self.report["layers"]:
            for what in [layer, *layer["domains"]]:
                for rank in ("all", "first", "second"):
                    load = what["load"][rank]
                    self.assertEqual(len(load["shares"]), 8)
                    self.assertAlmostEqual(sum(load["shares"]), 1, places=3)
                    self.assertAlmostEqual(load["max_over_mean"], 8 * max(load["shares"]), places=3)
                    self.assertLessEqual(load["normalised_entropy"], 1.0001)
                both = [(a + b) / 2 for a, b in zip(what["load"]["first"]["shares"], what["load"]["second"]["shares"])]
                for a, b in zip(both, what["load"]["all"]["shares"]):
                    self.assertAlmostEqual(a, b, places=3)

    def test_intervals_hold_the_figure_and_one_document_has_none(self):
        for layer in self.report["layers"]:
            for domain in layer["domains"]:
                first = domain["repeats"]["first"]
                if domain["domain"] == "code":
                    self.assertIsNone(first["low"])
                    continue
                self.assertLessEqual(first["low"], first["share"])
                self.assertGreaterEqual(first["high"], first["share"])
                load = domain["load"]["all"]
                for low, share, high in zip(load["low"], load["shares"], load["high"]):
                    self.assertLessEqual(low, share + 1e-9)
                    self.assertGreaterEqual(high, share - 1e-9)

    def test_repeats_stand_beside_what_chance_gives(self):
        for layer in self.report["layers"]:
            for domain in layer["domains"]:
                repeats = domain["repeats"]
                self.assertAlmostEqual(repeats["first"]["even"], 1 / 8, places=5)
                self.assertAlmostEqual(repeats["any"]["even"], 13 / 28, places=4)
                self.assertGreaterEqual(repeats["first"]["marginal"], 1 / 8 - 1e-6)
                self.assertGreaterEqual(repeats["any"]["share"], repeats["first"]["share"])

    def test_counts_agree_with_each_other(self):
        for layer in self.report["layers"]:
            pairs = layer["coactivation"]["pairs"]
            self.assertEqual(sum(map(sum, pairs)), 2 * self.report["tokens"])
            self.assertTrue(all(pairs[i][j] == pairs[j][i] and pairs[i][i] == 0 for i in range(8) for j in range(8)))
            groups = layer["texts"]["groups"]
            self.assertEqual(sum(sum(group["choices"]) for group in groups), 2 * self.report["tokens"])
            for what in ("domain", "token"):
                self.assertEqual(layer["topic"][what]["samples"], 2 * self.report["tokens"])
            cache = layer["cache"]
            self.assertEqual(cache["slots"], list(range(2, 9)))
            for policy in ("lru", "lfu"):
                self.assertTrue(all(best >= rate for best, rate in zip(cache["belady"], cache[policy])))
            for policy in ("lru", "belady", "most_used", "even"):
                self.assertEqual(sorted(cache[policy]), cache[policy])
            for one in layer["foresight"]["by_router"]:
                self.assertEqual(sorted(one["recall"]), one["recall"])
        self.assertEqual([[one["layers_before"] for one in layer["foresight"]["by_router"]] for layer in self.report["layers"]],
                         [[], [1], [1, 2], [1, 2]])

    def test_samples_spell_the_text(self):
        samples = {sample["domain"]: sample for sample in self.report["samples"]}
        self.assertEqual(set(samples), {"code", "de", "en"})
        start = "".join(samples["code"]["tokens"]).lstrip()
        self.assertTrue((self.texts / "code.txt").read_text(encoding="utf-8").startswith(start))
        for sample in samples.values():
            for row in sample["experts"]:
                self.assertEqual(len(row), 2 * len(sample["tokens"]))
                self.assertLess(max(row), 8)

    def test_typical_tokens_stand_above_their_share(self):
        for layer in self.report["layers"]:
            for tokens in layer["texts"]["typical"]:
                for one in tokens:
                    self.assertGreater(one["lift"], 1)
                    self.assertGreaterEqual(one["occurrences"], 8)
                    self.assertLessEqual(one["count"], one["occurrences"])

    def test_the_page_needs_nothing_else(self):
        # Text of the report cannot end the element that it stands in.
        self.assertEqual(self.page.count("</script>"), 2)
        without_data = re.sub(r'<script type="application/json".*?</script>', "", self.page, flags=re.DOTALL)
        self.assertNotIn("//www.", without_data.replace("http://www.w3.org/2000/svg", ""))
        self.assertIsNone(re.search(r"""(src|href)\s*=\s*["']?(?!data:)[a-z/.]""", without_data))
        self.assertIsNone(re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(|innerHTML", without_data))
        self.assertIn("default-src 'none'", self.page)
        data = re.search(r'<script type="application/json" id="report">(.*?)</script>', self.page, flags=re.DOTALL).group(1)
        self.assertEqual(json.loads(data), self.report)

    def test_the_same_input_gives_the_same_bits_on_any_number_of_threads(self):
        again = self.folder / "again"
        ran = cadre("study", NANO, "--data", self.texts, "--tokens", 400, "--out", again, "--threads", 1)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        for name in ("report.json", "report.html"):
            self.assertEqual((again / name).read_bytes(), (self.study / name).read_bytes())

    def test_json_has_the_layers(self):
        ran = cadre("study", NANO, "--data", f"x={self.texts / 'en.valid.jsonl'}", "--tokens", 200, "--out", self.folder / "json", "--json")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        printed = json.loads(ran.stdout)
        self.assertEqual(len(printed["layers"]), 4)
        self.assertEqual(printed["layers"][0]["domains"][0]["domain"], "x")
        self.assertIn("report.html", self.stdout)

    def test_a_model_beside_itself_agrees_wholly_and_its_quantisation_nearly(self):
        small = self.folder / "nano-q4.gguf"
        self.assertEqual(cadre("quantize", NANO, small, "--type", "q4_0").returncode, 0)
        for other, least, most in ((NANO, 1, 1), (small, 0.6, 0.999)):
            out = self.folder / "against"
            ran = cadre("study", NANO, "--data", self.texts, "--tokens", 300, "--against", other, "--out", out)
            self.assertEqual(ran.returncode, 0, ran.stderr)
            report = json.loads((out / "report.json").read_text(encoding="utf-8"))
            for layer in report["layers"]:
                for domain in layer["domains"]:
                    agreement = domain["agreement"]
                    for what in ("same_set", "jaccard", "shared"):
                        self.assertGreaterEqual(agreement[what]["mean"], least if what == "shared" else 0.4 * least)
                    if most == 1:
                        self.assertEqual(agreement["same_set"]["mean"], 1)
                        self.assertEqual(agreement["gate_distance"]["mean"], 0)
            if most < 1:
                last = report["layers"][-1]
                self.assertLess(min(d["agreement"]["same_set"]["mean"] for d in last["domains"]), 1)
                self.assertLess(last["agreement_by_margin"]["same_set"][0], last["agreement_by_margin"]["same_set"][-1])

    def test_wrong_input_is_one_clear_line(self):
        (self.folder / "notes.md").write_text("x", encoding="utf-8")
        (self.folder / "bad.jsonl").write_text('{"txt": 1}\n', encoding="utf-8")
        for arguments, says in (([self.folder / "none.txt"], "none.txt: is not there"), ([self.folder / "notes.md"], "must end in .txt"),
                                ([self.folder / "bad.jsonl"], 'bad.jsonl:1: has no member "text"'), (["=" + str(self.texts)], "needs a name")):
            ran = cadre("study", NANO, "--data", *arguments, "--out", self.folder / "wrong")
            self.assertEqual(ran.returncode, 1)
            self.assertEqual(ran.stderr.decode().count("\n"), 1, ran.stderr)
            self.assertIn(says, ran.stderr.decode())
        self.assertEqual(cadre("study", NANO, "--out", self.folder / "wrong").returncode, 2)

    def test_a_full_disk_leaves_nothing_half(self):
        out = self.folder / "full"
        limit = 20_000
        # Writing beyond the limit fails, as on a full disk, where the signal for it is ignored: so it is in Python.
        ran = cadre("study", NANO, "--data", self.texts, "--tokens", 300, "--out", out, restore_signals=False,
                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        self.assertEqual(ran.returncode, 1)
        self.assertIn("report.json", ran.stderr.decode())
        self.assertEqual(sorted(path.name for path in out.iterdir()), [])

    def test_a_killed_study_leaves_what_was_there(self):
        out = self.folder / "killed"
        shutil.copytree(self.study, out)
        before = {path.name: path.read_bytes() for path in out.iterdir()}
        for seconds in (0.05, 0.2, 0.4):
            process = subprocess.Popen([PROGRAM, "study", NANO, "--data", self.texts, "--tokens", "400", "--seed", "9", "--out", out],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(seconds)
            process.kill()
            process.wait()
            for name in ("report.json", "report.html"):
                bytes_now = (out / name).read_bytes()
                self.assertTrue(bytes_now == before[name] or bytes_now.endswith(b"}\n") or bytes_now.endswith(b"</html>\n"))


if __name__ == "__main__":
    unittest.main()
