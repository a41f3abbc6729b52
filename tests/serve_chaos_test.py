#!/usr/bin/env python3
"""The server among hostile and clumsy clients, all at once: they hang up at any moment, send halves, read slowly, send nonsense, ask
for too much. Meanwhile /health answers and honest clients get what they get alone; afterwards no page, place or connection is left
taken, and the process ends cleanly (built with a sanitizer: without a finding). CADRE_CHAOS_SECONDS says for how long."""

import json
import os
import random
import socket
import struct
import threading
import time
import unittest

from server_process import INSTRUMENTED, Server

SECONDS = float(os.environ.get("CADRE_CHAOS_SECONDS", "10"))
PATIENCE_S = 60 if INSTRUMENTED else 20
BODY_LIMIT_AND_MORE = 40 << 20
HONEST = [
    {"prompt": "Once upon a time there was", "max_tokens": 24, "temperature": 0},
    {"prompt": "The river", "max_tokens": 40, "temperature": 0.9, "seed": 3},
    {"prompt": "He said that", "max_tokens": 16, "temperature": 1.2, "seed": 4, "n": 2},
    {"prompt": "In the year", "max_tokens": 30, "temperature": 1, "seed": 5, "regex": "[a-z ]{5,20}"},
]
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 30}, "b": {"type": "array", "items": {"type": "number"}}}}


def request_bytes(path, body, length=None, extra=""):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    size = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n{extra}\r\n"
    return head.encode() + body


class Chaos:
    """Clients of every sort, each a method that has one encounter with the server."""

    def __init__(self, server, seed):
        self.server = server
        self.random = random.Random(seed)

    def connect(self, receive_bytes=None):
        s = socket.socket()
        if receive_bytes:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        s.settimeout(PATIENCE_S)
        s.connect(("127.0.0.1", self.server.port))
        return s

    def hang_up(self, s):
        if self.random.random() < 0.5:  # with a reset rather than an end
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()

    def status(self, s):
        """The status of the answer; none where the server hung up first, or this client loses its patience: an answer may be long."""
        try:
            head = b""
            while b"\r\n" not in head:
                piece = s.recv(4096)
                if not piece:
                    return None
                head += piece
        except (ConnectionError, TimeoutError):
            return None
        return int(head.split(b" ", 2)[1])

    def send(self, s, data):
        """Whether all of it left: a server that refuses may stop to read."""
        try:
            s.sendall(data)
            return True
        except (ConnectionError, BrokenPipeError):
            return False

    def some_request(self):
        r = self.random
        body = {"model": "nano", "prompt": " ".join(r.choices(["the", "river", "was", "old"], k=r.randint(1, 200))),
                "max_tokens": r.randint(1, 300), "temperature": r.choice([0, 0.7, 1.5]), "stream": r.random() < 0.7}  # fmt: skip
        if r.random() < 0.2:
            body |= {"n": r.randint(2, 4)}
        if r.random() < 0.2:
            body |= {"logprobs": 5, "routing": "all"}
        if r.random() < 0.2:
            body |= {"experts_per_token": r.randint(1, 8)}
        if r.random() < 0.3:
            body |= {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}}
        if r.random() < 0.3:
            body["messages"] = [{"role": "user", "content": body.pop("prompt")}]
            body.pop("logprobs", None)
            return "/v1/chat/completions", body
        return "/v1/completions", body

    def honest(self, expected):
        which = self.random.randrange(len(HONEST))
        status, body, _ = self.server.ask("/v1/completions", {"model": "nano", **HONEST[which]}, timeout=PATIENCE_S * 10)
        if status == 429:
            return
        texts = [choice["text"] for choice in json.loads(body)["choices"]] if status == 200 else body
        assert texts == expected[which], f"{status}: {texts} but alone {expected[which]}"

    def goes_at_any_moment(self):
        s = self.connect()
        self.send(s, request_bytes(*self.some_request()))
        moment = self.random.choice([0, 0.001, 0.01, 0.1, 1]) * self.random.random()
        end = time.monotonic() + moment
        s.settimeout(0.05)
        while time.monotonic() < end:
            try:
                if not s.recv(self.random.choice([1, 100, 65536])):
                    break
            except (TimeoutError, ConnectionError):
                pass
        self.hang_up(s)

    def sends_a_half(self):
        s = self.connect()
        whole = request_bytes(*self.some_request())
        half = whole[: self.random.randrange(len(whole))]
        for begin in range(0, len(half), step := self.random.choice([7, 50, 10_000])):
            if not self.send(s, half[begin : begin + step]):
                break
        if self.random.random() < 0.3:
            time.sleep(self.random.random() * 2)
        self.hang_up(s)

    def reads_slowly(self):
        s = self.connect(receive_bytes=1024)
        path, body = self.some_request()
        self.send(s, request_bytes(path, body | {"stream": True, "max_tokens": 300}))
        end = time.monotonic() + self.random.random() * 5
        try:
            while time.monotonic() < end and s.recv(self.random.randint(1, 64)):
                time.sleep(0.02)
        except (ConnectionError, TimeoutError):
            pass  # nothing came for long: others are served, and this client gives up
        self.hang_up(s)

    def speaks_nonsense(self):
        r = self.random
        path, body = self.some_request()
        text = bytearray(json.dumps(body).encode())
        kind = r.randrange(5)
        if kind == 0:
            for _ in range(r.randint(1, 5)):
                text[r.randrange(len(text))] = r.randrange(256)
        elif kind == 1:
            text = bytearray(b"[" * r.choice([10, 1000, 100_000]))
        elif kind == 2:
            text = bytearray(json.dumps(body | {r.choice(list(body)): r.choice([None, -1, 1e308, "x" * 1000, [[]], {}, True])}).encode())
        elif kind == 3:
            text = bytearray(r.randbytes(r.randint(0, 2000)))
        else:
            del text[r.randrange(len(text)) :]
        s = self.connect()
        # What happens to be a good request is answered as one; its status is what is looked at.
        if self.send(s, request_bytes(path, bytes(text))):
            status = self.status(s)
            assert status in (200, 400, 404, 413, 422, 429, None), f"{status} for {bytes(text[:300])!r}"
        self.hang_up(s)

    def speaks_no_http(self):
        s = self.connect()
        lines = [b"GET", b"POST /v1/completions HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"A: b\r\n" * 5000,
                 b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
                 b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", self.random.randbytes(500)]  # fmt: skip
        if self.send(s, self.random.choice(lines)):
            s.settimeout(self.random.random() + 0.01)  # it may wait for the rest
            status = self.status(s)
            assert status in (200, 400, 404, 405, 408, 411, 413, 414, 417, 431, 501, 505, None), status
        self.hang_up(s)

    def asks_too_much(self):
        s = self.connect()
        kind = self.random.randrange(3)
        if kind == 0:  # more tokens than the model has places for
            sent = self.send(s, request_bytes("/v1/completions", {"model": "nano", "prompt": "river " * 20_000}))
            expected = (400, 429, 422)
        elif kind == 1:  # a body that is said to be too large
            sent = self.send(s, request_bytes("/v1/completions", b"{", length=1 << 40))
            expected = (413,)
        else:  # a body that is too large
            sent = self.send(s, request_bytes("/v1/completions", b" " * BODY_LIMIT_AND_MORE))
            expected = (413, 400)
        status = self.status(s) if sent else None
        assert status in (*expected, None), status
        self.hang_up(s)

    def pipelines(self):
        s = self.connect()
        self.send(s, b"".join(request_bytes(*self.some_request()) for _ in range(self.random.randint(2, 6))))
        if self.random.random() < 0.5:
            self.status(s)
        self.hang_up(s)


class ServeChaosTest(unittest.TestCase):
    def setUp(self):
        self.problems = []
        self.encounters = {}
        self.stop = threading.Event()

    def live(self, server, seed, ways, *arguments):
        """One client after another, until the time is over or something is wrong."""
        chaos = Chaos(server, seed)
        while not self.stop.is_set():
            way = chaos.random.choice(ways)
            try:
                getattr(chaos, way)(*arguments)
            except Exception as problem:  # pylint: disable=broad-except
                self.problems.append(f"{way}: {type(problem).__name__}: {problem}")
                self.stop.set()
            self.encounters[way] = self.encounters.get(way, 0) + 1

    def watch_health(self, server):
        while not self.stop.is_set():
            begin = time.monotonic()
            try:
                status, _, _ = server.ask("/health", timeout=PATIENCE_S)
                self.slowest = max(self.slowest, time.monotonic() - begin)
                if status != 200:
                    raise AssertionError(f"status {status}")
            except Exception as problem:  # pylint: disable=broad-except
                self.problems.append(f"health: {type(problem).__name__}: {problem}")
                self.stop.set()
            self.stop.wait(0.2)

    def wait_until(self, what, is_so, patience_s=PATIENCE_S * 3):
        deadline = time.monotonic() + patience_s
        while not is_so():
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.1)

    def test_nothing_is_lost_and_nothing_leaks(self):
        self.slowest = 0
        with Server("--parallel", 8, "--queue", 30, "--kv-memory", "16M") as server:
            expected = []
            for request in HONEST:
                expected.append([choice["text"] for choice in server.complete(**request)["choices"]])
            files = server.open_files()
            wild = ["goes_at_any_moment", "sends_a_half", "reads_slowly", "speaks_nonsense", "speaks_no_http", "asks_too_much", "pipelines"]
            threads = [threading.Thread(target=self.watch_health, args=(server,))]
            threads += [threading.Thread(target=self.live, args=(server, seed, wild)) for seed in range(12)]
            threads += [threading.Thread(target=self.live, args=(server, 100 + seed, ["honest"], expected)) for seed in range(2)]
            for thread in threads:
                thread.start()
            self.stop.wait(SECONDS)
            self.stop.set()
            for thread in threads:
                thread.join()
            print(f"{self.encounters}, slowest /health {self.slowest:.2f} s, peak {server.peak_bytes() / 1e6:.0f} MB")
            self.assertEqual(self.problems, [], server.read_log()[-5000:])
            for metric in ("cadre_requests_running", "cadre_requests_queued", "cadre_kv_pages_in_use"):
                self.wait_until(metric, lambda metric=metric: server.metric(metric) == 0)
            self.wait_until("connections stay open", lambda: server.open_files() <= files)
            for request, texts in zip(HONEST, expected):
                self.assertEqual([choice["text"] for choice in server.complete(**request)["choices"]], texts)
            taken = {name: server.metric(f"cadre_requests_{name}_total") for name in ("finished", "cancelled", "failed")}
            print(taken, server.metric("cadre_requests_total"))
            self.assertEqual(sum(taken.values()), server.metric("cadre_requests_total"))
            self.assertEqual(taken["failed"], 0)
            status = server.stop(PATIENCE_S)
            self.assertEqual(status, 0, server.read_log()[-10_000:])
            for finding in ("Sanitizer", "runtime error"):
                self.assertNotIn(finding, server.read_log())


if __name__ == "__main__":
    unittest.main(verbosity=2)
