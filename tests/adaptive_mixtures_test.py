#!/usr/bin/env python3
"""The example of 1991 learns its task, tells its error functions apart, and writes a page that needs nothing else.
CADRE_EXAMPLE names the program."""

import html.parser
import os
import pathlib
import subprocess
import tempfile
import unittest

PROGRAM = os.environ["CADRE_EXAMPLE"]
SMALL = ("--runs", 4, "--passes", 300, "--experts", 2)
VOID = {"meta", "br", "link", "img", "input", "hr"}


def run(*words):
    return subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True, check=False, timeout=300)


class Page(html.parser.HTMLParser):
    """Counts elements and fails when they do not nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.counts, self.attributes = [], {}, []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.attributes += [name for name, _ in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.attributes += [name for name, _ in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag


class AdaptiveMixturesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="cadre-mixtures-test-")
        cls.page = pathlib.Path(cls.temporary.name) / "page.html"
        cls.done = run(*SMALL, "--out", cls.page)
        assert cls.done.returncode == 0, cls.done.stderr
        lines = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in cls.done.stdout.splitlines()]
        cls.rows = {line[0]: line for line in lines[2:]}

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def share(self, system, column):
        return float(self.rows[system][column].split()[0])

    def test_every_mixture_learns_what_one_line_cannot(self):
        self.assertEqual(list(self.rows), ["cooperative", "competitive", "competitive, likelihood", "one network"])
        for system in self.rows:
            self.assertGreater(self.share(system, 2), 80, system)

    def test_experts_that_compete_answer_alone(self):
        self.assertGreater(self.share("competitive", 3), self.share("competitive", 2) - 1)
        self.assertGreater(self.share("competitive", 3), self.share("cooperative", 3) + 3)

    def test_systems_are_of_one_size(self):
        weights = [self.share(system, 1) for system in self.rows]
        self.assertLessEqual(max(weights) - min(weights), 2)

    def test_the_page_needs_nothing_else(self):
        text = self.page.read_text(encoding="utf-8")
        page = Page(text)
        self.assertEqual(page.counts["svg"], 5)
        self.assertGreater(page.counts["circle"], 4 * 300)
        self.assertEqual(page.counts["tr"], 5)
        for outside in ("http:", "https:", "url(", "@import", "<script", "<link"):
            self.assertNotIn(outside, text)
        self.assertFalse({"src", "href", "xlink:href"} & set(page.attributes))
        self.assertNotRegex(text, r"\bnan\b")

    def test_a_run_is_a_function_of_its_seed(self):
        again = self.page.with_name("again.html")
        self.assertEqual(run(*SMALL, "--out", again).stdout, self.done.stdout)
        self.assertEqual(again.read_bytes(), self.page.read_bytes())
        self.assertNotEqual(run("--runs", 1, "--passes", 9, "--seed", 5).stdout, run("--runs", 1, "--passes", 9).stdout)

    def test_wrong_options_end_in_one_line(self):
        for words in (("--runs", "many"), ("--experts", 99), ("--colour", 3), ("--out",)):
            done = run(*words)
            self.assertEqual(done.returncode, 1, words)
            self.assertEqual(len(done.stderr.splitlines()), 1, words)


if __name__ == "__main__":
    unittest.main(verbosity=2)
