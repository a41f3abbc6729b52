#!/usr/bin/env python3
"""--memory as its users meet it: the same results at every budget, no more memory than it says, errors that end a request and not the
program. CADRE_PROGRAM names the program, CADRE_SOURCE_DIR the repository."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from server_process import INSTRUMENTED, NANO, PROGRAM, Server

NANO_INSTRUCT = NANO.parent.parent / "nano-instruct" / "nano-instruct.gguf"
PROMPT = "Once upon a time there was a little girl who lived in a house by the sea, and every morning she"


def cadre(*arguments):
    """Exit code, standard output, what was said beside it, and peak resident bytes of one run."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        process = subprocess.Popen([PROGRAM, *map(str, arguments)], stdout=out, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        said.seek(0)
        return process.returncode, out.read().decode(), said.read().decode(), usage.ru_maxrss * 1024


def least_budget(*arguments):
    """Bytes that the program says the run needs."""
    code, _, said, _ = cadre(*arguments, "--memory", "1M")
    found = re.search(r"needs (\d+)M at least", said)
    assert code == 1 and found and said.count("\n") == 1, said
    return int(found[1]) * 1_000_000


class Replay:
    """A cache of experts over a trace of routing, as src/store/expert_cache.h says, with every use remembered."""

    def __init__(self, layers, slots, policy):
        self.layers, self.slots, self.policy = layers, slots, policy
        self.steps, self.uses, self.cached = [0] * layers, {}, set()
        self.hits, self.misses = [0] * layers, [0] * layers

    def worth(self, key):
        age = self.steps[key[0]] - self.uses[key][-1]
        if self.policy == "lru":
            return -age
        often = sum(0.98 ** (self.steps[key[0]] - use) for use in self.uses[key])
        return round(0.02 * often + 0.2 * 0.5**age, 12)

    def fill(self, pending, marked, layer):
        while pending:
            if len(self.cached) == self.slots:
                away = lambda key: key[0] - layer if key[0] > layer else key[0] - layer + self.layers
                free = sorted(self.cached - marked, key=lambda key: (self.worth(key), -away(key), key))
                if not free:
                    return
                self.cached.remove(free[0])
            self.cached.add(pending.pop(0))

    def run(self, layer, experts):
        self.steps[layer] += 1
        keys = [(layer, expert) for expert in sorted(experts)]
        present = [key for key in keys if key in self.cached]
        missing = [key for key in keys if key not in self.cached]
        for key in keys:
            self.uses.setdefault(key, []).append(self.steps[layer])
        self.hits[layer] += len(present)
        self.misses[layer] += len(missing)
        marked, pending = set(keys), list(missing)
        self.fill(pending, marked, layer)
        for key in present + missing:
            marked.discard(key)
            self.fill(pending, marked, layer)


class Memory(unittest.TestCase):
    def check_same(self, *arguments):
        """The run's output without a budget, which every budget must give too; budgets and peaks are printed."""
        code, expected, said, unbounded = cadre(*arguments)
        self.assertEqual(code, 0, said)
        least = least_budget(*arguments)
        # The sum of all is known only from within: what is there at the beginning differs a little from run to run.
        for budget in (least + 1_500_000, least + 2_000_000, least + 4_000_000, 4 * least):
            code, out, said, peak = cadre(*arguments, "--memory", budget, "--log-level", "info")
            self.assertEqual(code, 0, said)
            self.assertEqual(self.stable(out), self.stable(expected))
            print(f"{arguments[0]}: budget {budget / 1e6:.1f} MB, peak {peak / 1e6:.1f} MB (without {unbounded / 1e6:.1f} MB)")
            self.assertIn("experts, ", said)
            if not INSTRUMENTED:
                self.assertLessEqual(peak, 1.02 * budget)
        return expected

    @staticmethod
    def stable(text):
        """Output without what no two runs share."""
        return re.sub(r'"[a-z_]*_per_s": [0-9.e+-]+|"experts": \{.*?\n  \}', "", text, flags=re.S)

    def test_generate_says_the_same_at_every_budget(self):
        for settings in (["--temperature", 0], ["--temperature", 0.9, "--seed", 3, "--kv", "q8"], ["--activations", "f32"], ["--no-pack"]):
            self.check_same("generate", NANO, "-p", PROMPT, "-n", 60, *settings)

    def test_policies_guesses_and_instruction_sets_change_nothing(self):
        run = ["generate", NANO, "-p", PROMPT, "-n", 40]
        budget = least_budget(*run) + 2_000_000
        expected = cadre(*run)[1]
        for options in (["--expert-cache", "lru"], ["--expert-guesses", 0], ["--expert-guesses", 1], ["--threads", 1], ["--isa", "scalar"]):
            alone = cadre(*run, *options)[1] if options[0] == "--isa" else expected
            code, out, said, _ = cadre(*run, "--memory", budget, *options)
            self.assertEqual((code, out), (0, alone), said)

    def test_perplexity_and_logits_are_the_same(self):
        with tempfile.TemporaryDirectory() as folder:
            text = os.path.join(folder, "text.txt")
            with open(text, "w", encoding="utf-8") as file:
                file.write((PROMPT + " went to look at the boats. ") * 30)
            self.check_same("perplexity", NANO, "--file", text, "--context", 128)
            out = os.path.join(folder, "logits.npy")
            ids = " ".join(str(3 + 7 * i) for i in range(200))
            run = ["logits", NANO, "--ids", ids, "--out", out, "--routing", out + ".json"]
            self.check_same(*run)
            files = []
            for budget in (None, least_budget(*run) + 1_000_000):
                cadre(*run, *(["--memory", budget] if budget else []))
                with open(out, "rb") as npy, open(out + ".json", "rb") as routing:
                    files.append((npy.read(), routing.read()))
            self.assertEqual(files[0], files[1])

    def test_a_conversation_fits_its_context_to_the_memory(self):
        run = ["chat", NANO, "--temperature", "0", "-n", "30"]
        turns = b"Tell me about a dog.\nAnd a cat?\n"
        plain = subprocess.run([PROGRAM, *map(str, run)], input=turns, capture_output=True, check=True).stdout
        least = least_budget(*run)
        done = subprocess.run([PROGRAM, *map(str, run), "--memory", str(least + 2_000_000)], input=turns, capture_output=True, check=True)
        self.assertEqual(done.stdout, plain)

    def test_what_was_fetched_is_told(self):
        run = ["generate", NANO, "-p", PROMPT, "-n", 60, "--json"]
        told = json.loads(cadre(*run, "--memory", least_budget(*run) + 3_000_000)[1])["experts"]
        self.assertEqual(len(told["foreseen_by_layer"]), 4)
        self.assertIsNone(told["foreseen_by_layer"][0])
        self.assertGreater(told["foreseen"], 0.4)
        self.assertGreater(told["hits"], 0)
        self.assertGreater(told["misses"], 0)
        self.assertGreater(told["read_bytes"], 1_000_000)
        self.assertGreaterEqual(told["stall_s"], 0)
        print(told)
        self.assertNotIn("experts", json.loads(cadre(*run)[1]))

    def test_hits_are_those_of_a_replay_of_the_routing_and_told_by_layer(self):
        # BOS alone is the prompt: routing is shown of a step's last row.
        run = ["generate", NANO, "-p", "", "-n", 100, "--json", "--temperature", 1, "--show-routing", "0,1,2,3"]
        least = least_budget(*run)
        for policy, guesses, extra in (("lru", 0, 1_000_000), ("frequency", 2, 2_500_000), ("frequency", 0, 5_000_000)):
            out = json.loads(cadre(*run, "--memory", least + extra, "--expert-cache", policy, "--expert-guesses", guesses)[1])
            told = out["experts"]
            replay = Replay(4, told["slots"], policy)
            rows = [row["experts"] for row in out["routing"]["tokens"]]
            self.assertEqual(out["prompt_tokens"], 1)
            for row in rows:
                for layer in range(4):
                    replay.run(layer, row[layer])
            print(f"{policy}, {told['slots']} slots: {told['hits']} hits, {told['misses']} misses")
            self.assertEqual([layer["hits"] for layer in told["layers"]], replay.hits)
            self.assertEqual([layer["misses"] for layer in told["layers"]], replay.misses)
            self.assertEqual([layer["foreseen"] for layer in told["layers"]], told["foreseen_by_layer"])
            self.assertEqual(told["choices"], 4 * 2 * len(rows))
            self.assertEqual(told["inexact"], 0)

    def test_a_prompt_reads_each_expert_at_most_once(self):
        run = ["generate", NANO, "-p", " ".join(["The old man and the sea."] * 30), "-n", 1, "--json"]
        told = json.loads(cadre(*run, "--memory", least_budget(*run) + 1_500_000, "--expert-guesses", 0)[1])["experts"]
        self.assertLessEqual(told["misses"], 4 * 8)

    def copy_in_fewer_bits(self, folder):
        path = os.path.join(folder, "fewer.gguf")
        code, _, said, _ = cadre("quantize", NANO, path, "--type", "q2_k")
        self.assertEqual(code, 0, said)
        return path

    def test_a_copy_in_fewer_bits_stands_in_and_is_told(self):
        with tempfile.TemporaryDirectory() as folder:
            copy = self.copy_in_fewer_bits(folder)
            run = ["generate", NANO, "-p", PROMPT, "-n", 60, "--temperature", 0, "--json"]
            exact = json.loads(cadre(*run)[1])["text"]
            for model, settings, is_exact in (
                (copy, ["--miss-wait", 0, "--miss-gate", 1], False),
                (copy, ["--miss-wait", 0], None),  # second choices: the likeliest tokens may be the same
                (copy, ["--miss-gate", 0], True),
                (copy, ["--miss-wait", 100_000], True),
                (NANO, ["--miss-wait", 0, "--miss-gate", 1], True),  # a copy with all its bits
            ):
                with_copy = [*run, "--low-bit", model, *settings]
                budget = least_budget(*with_copy) + 1_500_000
                code, out, said, peak = cadre(*with_copy, "--memory", budget, "--log-level", "info")
                self.assertEqual(code, 0, said)
                told = json.loads(out)["experts"]
                self.assertEqual(told["low_bit"] == 0, is_exact is True and model == copy)
                self.assertLessEqual(told["low_bit"], told["choices"])
                self.assertAlmostEqual(told["inexact"], told["low_bit"] / told["choices"])
                self.assertEqual(sum(layer["low_bit"] for layer in told["layers"]), told["low_bit"])
                self.assertIn("for all experts in fewer bits", said)
                self.assertIn("by copies in fewer bits: not exact" if told["low_bit"] else "waited for; exact", said)
                if is_exact:
                    self.assertEqual(json.loads(out)["text"], exact)
                if settings == ["--miss-wait", 0]:
                    self.assertLessEqual(told["low_bit"], told["choices"] / 2)
                print(f"low-bit {settings}: {100 * told['inexact']:.1f} % of choices, {told['stall_s']:.3f} s waited")
                if not INSTRUMENTED:
                    self.assertLessEqual(peak, 1.02 * budget)

    def test_the_next_best_expert_stands_in_and_is_told(self):
        run = ["generate", NANO, "-p", PROMPT, "-n", 60, "--json", "--on-miss", "next-best", "--miss-wait", 0]
        budget = least_budget(*run) + 2_000_000
        code, out, said, _ = cadre(*run, "--memory", budget, "--log-level", "debug")
        told = json.loads(out)["experts"]
        self.assertEqual(code, 0, said)
        self.assertGreater(told["next_best"], 0)
        self.assertLessEqual(told["next_best"], told["choices"] / 2)
        self.assertEqual(told["low_bit"], 0)
        self.assertIn("by the next best expert: not exact", said)
        self.assertIn("layer      hits    misses", said)

    def test_perplexity_tells_what_stands_in_costs(self):
        with tempfile.TemporaryDirectory() as folder:
            copy = self.copy_in_fewer_bits(folder)
            text = os.path.join(folder, "text.txt")
            with open(text, "w", encoding="utf-8") as file:
                file.write((PROMPT + " went to look at the boats. ") * 20)
            run = ["perplexity", NANO, "--file", text, "--context", 64, "--json"]
            exact = json.loads(cadre(*run)[1])["perplexity"]
            run += ["--low-bit", copy, "--miss-wait", 0, "--miss-gate", 1]
            told = json.loads(cadre(*run, "--memory", least_budget(*run) + 2_000_000)[1])
            self.assertGreater(told["experts"]["low_bit"], 0)
            self.assertNotEqual(told["perplexity"], exact)
            self.assertLess(told["perplexity"], 2 * exact)
            print(f"perplexity {exact:.4f}, with copies for {100 * told['experts']['inexact']:.1f} % of choices {told['perplexity']:.4f}")

    def test_a_copy_of_another_model_is_refused(self):
        code, _, said, _ = cadre("generate", NANO, "-p", "a", "--memory", "1G", "--low-bit", NANO_INSTRUCT)
        self.assertEqual(code, 1)
        self.assertIn("nano-instruct.gguf: its norms are not the model's", said)
        self.assertEqual(said.count("\n"), 1)

    def test_evaluation_and_importance_are_the_same(self):
        with tempfile.TemporaryDirectory() as folder:
            data = os.path.join(folder, "items.jsonl")
            with open(data, "w", encoding="utf-8") as file:
                for i in range(24):
                    item = {"goal": f"{PROMPT} number {i}", "sol1": "went to the boats. " * (1 + i % 5), "sol2": "slept", "label": i % 2}
                    file.write(json.dumps(item) + "\n")
            record = os.path.join(folder, "record.jsonl")
            lines = []
            run = ["eval", NANO, "--task", "piqa", "--data", data, "--shots", 0]
            for budget in (None, least_budget(*run) + 1_500_000, least_budget(*run) + 4_000_000):
                code, out, said, peak = cadre(*run, "--record", record, "--json", *(["--memory", budget] if budget else []))
                self.assertEqual(code, 0, said)
                with open(record, encoding="utf-8") as file:
                    lines.append(file.read())
                os.remove(record)
                if budget:
                    self.assertGreater(json.loads(out)["experts"]["misses"], 0)
                    print(f"eval: budget {budget / 1e6:.1f} MB, peak {peak / 1e6:.1f} MB")
                if budget and not INSTRUMENTED:
                    self.assertLessEqual(peak, 1.02 * budget)
            self.assertEqual(lines[1:], lines[:1] * 2)

            text = os.path.join(folder, "text.txt")
            with open(text, "w", encoding="utf-8") as file:
                file.write((PROMPT + " went to look at the boats. ") * 30)
            for settings in ([], ["--activations", "f32"], ["--no-pack"]):
                files = []
                run = ["imatrix", NANO, "--file", text, "--context", 64, "--sensitivity", 0, *settings]
                for budget in (None, least_budget(*run, "--out", record) + 1_500_000):
                    code, _, said, peak = cadre(*run, "--out", record, *(["--memory", budget] if budget else []))
                    self.assertEqual(code, 0, said)
                    with open(record, "rb") as file:
                        files.append(file.read())
                    if budget and not INSTRUMENTED:
                        self.assertLessEqual(peak, 1.02 * budget)
                self.assertEqual(files[0], files[1])
            code, _, said, _ = cadre("imatrix", NANO, "--file", text, "--out", record, "--memory", "1G", "--sensitivity", 64)
            self.assertEqual(code, 1)
            self.assertIn("--memory cannot bound it", said)

    def test_wrong_use_is_refused(self):
        for arguments in (
            ["generate", NANO, "-p", "a", "--on-miss", "next-best"],
            ["generate", NANO, "-p", "a", "--memory", "1G", "--on-miss", "low-bit"],
            ["generate", NANO, "-p", "a", "--memory", "1G", "--on-miss", "wait", "--low-bit", NANO],
            ["generate", NANO, "-p", "a", "--memory", "1G", "--on-miss", "guess"],
            ["generate", NANO, "-p", "a", "--memory", "1G", "--miss-gate", "1.5"],
            ["generate", NANO, "-p", "a", "--memory", "0"],
            ["generate", NANO, "-p", "a", "--memory", "lots"],
            ["generate", NANO, "-p", "a", "--expert-cache", "lru"],
            ["bench", "--preset", "mixtral-8x7b", "--memory", "1G"],
        ):
            code, _, said, _ = cadre(*arguments)
            self.assertEqual(code, 2, said)

    def test_bench_measures_within_the_budget(self):
        run = ["bench", NANO, "-p", 64, "-n", 8, "--repeat", 1, "--json"]
        for extra in ([], ["--batch", 3]):
            budget = least_budget(*run, *extra) + 2_000_000
            result = json.loads(cadre(*run, *extra, "--memory", budget)[1])
            self.assertGreater(result["experts_fetched"]["misses"], 0)
            if not INSTRUMENTED:
                self.assertLessEqual(result["peak_rss_bytes"], 1.02 * budget)

    def serve_budget(self, model):
        process = subprocess.run(
            [PROGRAM, "serve", model, "--port", "0", "--parallel", "4", "--memory", "1M"], capture_output=True, check=False
        )
        return int(re.search(rb"needs (\d+)M at least", process.stderr)[1]) * 1_000_000

    def test_a_server_answers_the_same_and_tells_what_it_fetched(self):
        budget = self.serve_budget(NANO) + 3_000_000
        with Server("--parallel", 4) as server:
            expected = [server.complete(PROMPT, max_tokens=30, temperature=0.8, seed=i)["choices"][0]["text"] for i in range(4)]
        with Server("--parallel", 4, "--memory", budget) as server:
            for _ in range(2):
                told = [server.complete(PROMPT, max_tokens=30, temperature=0.8, seed=i)["choices"][0]["text"] for i in range(4)]
                self.assertEqual(told, expected)
            self.assertGreater(server.metric("cadre_expert_read_bytes_total"), 0)
            self.assertGreaterEqual(server.metric("cadre_expert_slots"), 1)
            print(f"serve: budget {budget / 1e6:.1f} MB, peak {server.peak_bytes() / 1e6:.1f} MB")
            if not INSTRUMENTED:
                self.assertLessEqual(server.peak_bytes(), 1.02 * budget)

    def test_a_server_tells_what_stood_in_and_keeps_to_its_part_for_keys_and_values(self):
        with tempfile.TemporaryDirectory() as folder:
            copy = self.copy_in_fewer_bits(folder)
            budget = self.serve_budget(NANO) + os.stat(copy).st_size + 4_000_000
            stand_in = ["--low-bit", copy, "--miss-wait", 0, "--miss-gate", 1]
            with Server("--parallel", 4, "--memory", budget, "--kv-memory", 3_000_000, *stand_in) as server:
                for i in range(3):
                    server.complete(PROMPT, max_tokens=30, temperature=0.8, seed=i)
                self.assertGreater(server.metric('cadre_expert_low_bit_total{layer="1"}'), 0)
                self.assertEqual(server.metric('cadre_expert_next_best_total{layer="1"}'), 0)
                self.assertGreater(
                    server.metric('cadre_expert_choices_total{layer="1"}'), server.metric('cadre_expert_low_bit_total{layer="1"}')
                )
                page = server.metric("cadre_kv_page_bytes")
                self.assertEqual(server.metric("cadre_kv_pages"), 3_000_000 // page)
                if not INSTRUMENTED:
                    self.assertLessEqual(server.peak_bytes(), 1.02 * budget)
        code, _, said, _ = cadre("serve", NANO, "--port", 0, "--memory", "1G", "--kv-memory", 1000)
        self.assertEqual(code, 1)
        self.assertIn("--kv-memory is 1000 bytes but a context of", said)

    def test_a_file_cut_while_a_server_runs_ends_requests_and_not_the_server(self):
        with tempfile.TemporaryDirectory() as folder:
            model = os.path.join(folder, "model.gguf")
            shutil.copy(NANO, model)
            whole = os.stat(model)
            with Server("--parallel", 4, "--memory", self.serve_budget(model) + 500_000, model=model) as server:
                body = {"model": "model", "prompt": PROMPT, "max_tokens": 20, "temperature": 0}
                status, before, _ = server.ask("/v1/completions", body)
                self.assertEqual(status, 200, before)
                os.truncate(model, whole.st_size // 2)
                status, answer, _ = server.ask("/v1/completions", dict(body, prompt="Another text altogether, " + PROMPT))
                self.assertEqual(status, 500, answer)
                self.assertIn("error", json.loads(answer))
                self.assertEqual(server.ask("/health")[0], 200)
                self.assertGreaterEqual(server.metric("cadre_requests_failed_total"), 1)
                # Back as it was, to the nanosecond: it serves again.
                shutil.copy(NANO, model)
                os.utime(model, ns=(whole.st_atime_ns, whole.st_mtime_ns))
                status, again, _ = server.ask("/v1/completions", dict(body, prompt="Another text altogether, " + PROMPT))
                self.assertEqual(status, 200, again)
                self.assertIsNone(server.process.poll())


if __name__ == "__main__":
    unittest.main()
