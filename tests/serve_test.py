#!/usr/bin/env python3
"""The server as its users meet it: cadre serve on the bundled model, asked over real connections (server_process.py).
CADRE_BENCH_SERVE names the load tool."""

import http.client
import json
import os
import subprocess
import tempfile
import threading
import time
import unittest

from server_process import INSTRUMENTED, NANO, PROGRAM, Server

LOAD = os.environ["CADRE_BENCH_SERVE"]


class Serve(unittest.TestCase):
    def test_an_answer_is_what_generate_says(self):
        prompt = "Once upon a time there was"
        for settings in ({"temperature": 0}, {"temperature": 0.9, "top_p": 0.9, "seed": 5}):
            options = [f for key, value in settings.items() for f in ("--" + key.replace("_", "-"), str(value))]
            done = subprocess.run(
                [PROGRAM, "generate", str(NANO), "-p", prompt, "-n", "40", "--json", *options], capture_output=True, check=True
            )
            alone = json.loads(done.stdout)
            with Server() as server:
                answer = server.complete(prompt, max_tokens=40, **settings)
                self.assertEqual(answer["choices"][0]["text"], alone["text"])
                self.assertEqual(answer["usage"]["completion_tokens"], alone["generated_tokens"])
                again = server.complete(prompt, max_tokens=40, **settings)  # now from the cache
                self.assertEqual(again["choices"][0]["text"], alone["text"])

    def test_a_thousand_streams_at_once_each_get_what_they_get_alone(self):
        streams = 50 if INSTRUMENTED else 1000
        with Server("--queue", 2000) as server:
            done = subprocess.run(
                [LOAD, "--url", server.url, "--model", "nano", "--requests", str(streams), "--concurrency", str(streams),
                 "--prompt-tokens", "40", "--max-tokens", "24", "--check-against-alone", str(streams // 10), "--timeout", "600", "--json"],
                capture_output=True, timeout=900, check=False,
            )  # fmt: skip
            self.assertEqual(done.returncode, 0, done.stdout.decode() + done.stderr.decode())
            result = json.loads(done.stdout)
            print(json.dumps(result))
            self.assertEqual(server.ask("/health")[0], 200)
            if not INSTRUMENTED:
                print("peak bytes", server.peak_bytes())
                self.assertLess(server.peak_bytes(), 1.5e9)

    def test_what_the_queue_cannot_hold_gets_429_and_nothing_is_lost(self):
        requests = 500 if INSTRUMENTED else 10_000
        with Server("--parallel", 2, "--queue", 3) as server:
            done = subprocess.run(
                [LOAD, "--url", server.url, "--model", "nano", "--requests", str(requests), "--concurrency", "500",
                 "--prompt-tokens", "4", "--max-tokens", "400", "--ignore-eos", "--allow-status", "429", "--json"],
                capture_output=True, timeout=900, check=False,
            )  # fmt: skip
            self.assertEqual(done.returncode, 0, done.stdout.decode() + done.stderr.decode())
            result = json.loads(done.stdout)
            refused = result["errors"].pop("429")
            self.assertEqual(result["errors"], {})
            self.assertEqual(result["answered"] + refused, requests)
            self.assertGreaterEqual(result["answered"], 5)  # those who run and those who wait
            self.assertEqual(result["completion_tokens"], 400 * result["answered"])
            self.assertEqual(server.metric("cadre_requests_refused_total"), refused)
            self.assertEqual(server.metric("cadre_requests_finished_total"), result["answered"])

    def test_a_refusal_says_when_to_come_again(self):
        with Server("--parallel", 1, "--queue", 0) as server:
            connection = http.client.HTTPConnection("127.0.0.1", server.port)
            body = {"model": "nano", "prompt": "Once", "max_tokens": 400, "min_tokens": 400, "temperature": 1, "stream": True}
            connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
            connection.getresponse().read(100)
            status, answer, headers = server.ask("/v1/completions", {"model": "nano", "prompt": "Twice", "max_tokens": 3})
            connection.close()
            self.assertEqual(status, 429)
            self.assertGreaterEqual(int(headers["Retry-After"]), 1)
            self.assertIn("error", json.loads(answer))

    def test_sigterm_lets_what_runs_end(self):
        with Server() as server:
            answers = []
            client = threading.Thread(target=lambda: answers.append(server.complete("Once", max_tokens=450, min_tokens=450, temperature=1)))
            client.start()
            while server.metric("cadre_requests_running") < 1:
                time.sleep(0.01)
            self.assertEqual(server.stop(), 0)
            client.join()
            self.assertEqual(answers[0]["usage"]["completion_tokens"], 450)

    def test_a_client_that_goes_frees_its_place(self):
        with Server("--parallel", 1) as server:
            connection = http.client.HTTPConnection("127.0.0.1", server.port)
            body = {"model": "nano", "prompt": "Once", "max_tokens": 500, "min_tokens": 500, "temperature": 1, "stream": True}
            connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
            connection.getresponse().read(100)
            connection.sock.close()
            self.assertEqual(len(server.complete("Twice", max_tokens=3)["choices"]), 1)
            deadline = time.monotonic() + 20
            while server.metric("cadre_requests_running") > 0 and time.monotonic() < deadline:
                time.sleep(0.05)
            self.assertEqual(server.metric("cadre_requests_running"), 0)

    def test_keys_open_and_nothing_else_does(self):
        with tempfile.NamedTemporaryFile("w", suffix=".keys") as keys:
            keys.write("# ours\nsecret-one\n")
            keys.flush()
            with Server("--api-key-file", keys.name) as server:
                self.assertEqual(server.ask("/health")[0], 200)
                for path in ("/v1/models", "/metrics", "/", "/openapi.json"):
                    self.assertEqual(server.ask(path)[0], 401, path)
                self.assertEqual(server.ask("/v1/models", headers={"Authorization": "Bearer secret-two"})[0], 401)
                self.assertEqual(server.ask("/v1/models", headers={"Authorization": "Bearer secret-one"})[0], 200)

    def test_refuses_to_be_open_to_others_without_keys(self):
        done = subprocess.run([PROGRAM, "serve", str(NANO), "--port", "0", "--host", "0.0.0.0"], capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"--insecure", done.stderr)

    def test_serves_its_page_and_forbids_it_to_fetch_elsewhere(self):
        with Server() as server:
            status, body, headers = server.ask("/")
            self.assertEqual(status, 200)
            self.assertIn(b"<html", body)
            self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
            status, again, _ = server.ask("/", headers={"If-None-Match": headers["ETag"]})
            self.assertEqual((status, again), (304, b""))
            self.assertNotRegex(body.decode(), r"https?://(?!127\.0\.0\.1|localhost|www\.w3\.org)")

    def test_a_schema_is_kept_and_one_that_cannot_be_is_refused(self):
        schema = {
            "type": "object",
            "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "minimum": 0, "maximum": 120}},
            "required": ["name", "age"],
            "additionalProperties": False,
        }
        with Server() as server:
            for seed in range(8):
                status, body, _ = server.ask(
                    "/v1/chat/completions",
                    {"model": "nano", "messages": [{"role": "user", "content": "Who?"}], "max_tokens": 200, "seed": seed, "temperature": 1,
                     "response_format": {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}},
                )  # fmt: skip
                answer = json.loads(body)
                self.assertEqual(status, 200, answer)
                self.assertEqual(answer["choices"][0]["finish_reason"], "stop")
                person = json.loads(answer["choices"][0]["message"]["content"])
                self.assertEqual(list(person), ["name", "age"])
                self.assertLessEqual(len(person["name"]), 8)
                self.assertIn(person["age"], range(121))
            status, body, _ = server.ask(
                "/v1/chat/completions",
                {"model": "nano", "messages": [{"role": "user", "content": "Who?"}],
                 "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {"type": "string"}}}}},
            )  # fmt: skip
            self.assertEqual(status, 400)
            self.assertIn("not", json.loads(body)["error"]["message"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
