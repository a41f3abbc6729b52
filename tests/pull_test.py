#!/usr/bin/env python3
"""cadre pull against a hub of our own on this machine, that misbehaves on request. CADRE_PROGRAM names the program."""

import contextlib
import hashlib
import http.server
import json
import os
import pathlib
import random
import signal
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.parse

PROGRAM = os.environ["CADRE_PROGRAM"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "owner/model"


def git_blob(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub:
    """Files, and what goes wrong with them. The hub redirects large files to a second server, as real hubs do."""

    def __init__(self, files):
        self.files = files
        self.token = None  # what the hub asks for
        self.cuts_left = 0  # answers to cut at a random place
        self.busy_left = 0  # answers of 429
        self.broken_left = 0  # answers of 503
        self.serves_ranges = True
        self.listed = {}  # path -> changes of its entry in the listing
        self.gone = set()  # listed, but 404
        self.slow_bytes_per_s = 0
        self.silent = None  # an event: nothing is answered before it
        self.requests = []  # (server, path, range, authorization)
        self.random = random.Random(7)
        self.lock = threading.Lock()

    def wait_for_storage(self, count):
        """Until so many requests for a file's bytes have come."""
        end = time.monotonic() + 60
        while sum(1 for server, *_ in list(self.requests) if server == "storage") < count:
            if time.monotonic() > end:
                raise TimeoutError(f"no {count} requests came")
            time.sleep(0.01)

    def take(self, name):
        with self.lock:
            left = getattr(self, name)
            setattr(self, name, max(0, left - 1))
            return left > 0

    def listing(self):
        siblings = []
        for path, data in self.files.items():
            entry = {"rfilename": path, "size": len(data), "blobId": git_blob(data)}
            if path.endswith((".safetensors", ".gguf", ".model")):
                entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            entry.update(self.listed.get(path, {}))
            siblings.append(entry)
        return {"sha": COMMIT, "siblings": siblings}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.serve()

    def serve(self):
        hub = self.server.hub
        path = urllib.parse.unquote(urllib.parse.urlparse(self.path).path)
        authorization = self.headers.get("Authorization")
        with hub.lock:
            hub.requests.append((self.server.name, path, self.headers.get("Range"), authorization))
        if hub.silent:
            hub.silent.wait(timeout=60)
        if self.server.name == "storage":
            return self.send_file(path.removeprefix("/storage/"))
        if hub.token and authorization != f"Bearer {hub.token}":
            return self.answer(401, b'{"error":"Invalid credentials"}')
        if path == f"/api/models/{REPOSITORY}/revision/main":
            return self.answer(200, json.dumps(hub.listing()).encode())
        prefix = f"/{REPOSITORY}/resolve/{COMMIT}/"
        if not path.startswith(prefix) or path.removeprefix(prefix) not in hub.files or path.removeprefix(prefix) in hub.gone:
            return self.answer(404, b"Entry not found")
        name = path.removeprefix(prefix)
        if name.endswith((".safetensors", ".gguf")):
            return self.answer(302, headers={"Location": f"{self.server.storage}/storage/{urllib.parse.quote(name)}?signature=secret"})
        return self.send_file(name)

    def send_file(self, name):
        hub = self.server.hub
        if hub.take("busy_left"):
            return self.answer(429, headers={"Retry-After": "0"})
        if hub.take("broken_left"):
            return self.answer(503)
        data = hub.files[name]
        begin, end, status, headers = 0, len(data), 200, {}
        wanted = self.headers.get("Range")
        if wanted and hub.serves_ranges:
            first, last = wanted.removeprefix("bytes=").split("-")
            begin, end, status = int(first), min(int(last) + 1, len(data)), 206
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(data)}"
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(end - begin))
        self.end_headers()
        stop = end
        if end - begin > 1 and hub.take("cuts_left"):
            with hub.lock:
                stop = hub.random.randrange(begin, begin + (end - begin) // 20 + 1)
        while begin < stop:
            part = data[begin : min(begin + 65536, stop)]
            self.wfile.write(part)
            begin += len(part)
            if hub.slow_bytes_per_s:
                time.sleep(len(part) / hub.slow_bytes_per_s)
        if stop < end:
            self.close_connection = True


@contextlib.contextmanager
def serving(hub):
    servers = []
    for name in ("storage", "hub"):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.hub, server.name, server.daemon_threads = hub, name, True
        server.storage = f"http://127.0.0.1:{servers[0].server_port}" if servers else None
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
    try:
        yield f"http://127.0.0.1:{servers[1].server_port}"
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def random_bytes(size, seed):
    return random.Random(seed).randbytes(size)


def small_files():
    return {
        "model.safetensors": random_bytes(300_000, 1),
        "config.json": b'{"model_type": "mixtral"}',
        "tokenizer.model": random_bytes(5000, 2),
        "consolidated.safetensors": random_bytes(1000, 3),
        "pytorch_model.bin": random_bytes(1000, 4),
        "sub/other.json": b"{}",
    }


class PullTest(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="cadre-pull-test-")
        self.addCleanup(self.temporary.cleanup)
        self.folder = pathlib.Path(self.temporary.name)
        self.to = self.folder / "model"

    def environment(self, url, **extra):
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING_FACE", "XDG_"))}
        return {**kept, "HOME": str(self.folder), "HF_ENDPOINT": url, **extra}

    def pull(self, url, *arguments, timeout=120, preexec_fn=None, **extra):
        command = [PROGRAM, "pull", REPOSITORY, *map(str, arguments)]
        return subprocess.run(command, env=self.environment(url, **extra), capture_output=True, text=True, timeout=timeout,
                              check=False, preexec_fn=preexec_fn)

    def check(self, files, names):
        found = sorted(str(path.relative_to(self.to)) for path in self.to.rglob("*") if path.is_file())
        self.assertEqual(found, sorted(names))
        for name in names:
            self.assertTrue((self.to / name).read_bytes() == files[name], name)

    def test_one_layout_of_a_model_arrives_whole(self):
        hub = Hub(small_files())
        with serving(hub) as url:
            done = self.pull(url, "--to", self.to, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.check(hub.files, ["model.safetensors", "config.json", "tokenizer.model"])
        answer = json.loads(done.stdout)
        self.assertEqual(answer["commit"], COMMIT)
        self.assertEqual(answer["bytes"], sum(len(hub.files[n]) for n in ("model.safetensors", "config.json", "tokenizer.model")))

    def test_without_to_the_model_is_found_by_its_name(self):
        hub = Hub(small_files())
        with serving(hub) as url:
            done = self.pull(url)
            self.assertEqual(done.returncode, 0, done.stderr)
            inspect = subprocess.run([PROGRAM, "inspect", REPOSITORY], env=self.environment(url), capture_output=True, text=True,
                                     check=False)
        self.assertIn(f".local/share/cadre/models/{REPOSITORY}/model.safetensors", inspect.stderr)

    def test_patterns_choose_files(self):
        hub = Hub(small_files())
        with serving(hub) as url:
            done = self.pull(url, "--to", self.to, "--include", "sub/*", "--include", "*.bin")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.check(hub.files, ["sub/other.json", "pytorch_model.bin"])

    def test_several_gguf_models_must_be_chosen_from(self):
        files = {"a-Q4_0.gguf": b"1", "b-00001-of-00002.gguf": b"2", "b-00002-of-00002.gguf": b"3"}
        hub = Hub(files)
        with serving(hub) as url:
            refused = self.pull(url, "--to", self.to)
            chosen = self.pull(url, "--to", self.to, "--include", "b*")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("holds 2 GGUF models; choose one with --include", refused.stderr)
        self.assertEqual(chosen.returncode, 0, chosen.stderr)
        self.check(files, ["b-00001-of-00002.gguf", "b-00002-of-00002.gguf"])

    def test_a_second_pull_checks_and_fetches_nothing(self):
        hub = Hub(small_files())
        with serving(hub) as url:
            self.assertEqual(self.pull(url, "--to", self.to).returncode, 0)
            hub.requests.clear()
            self.assertEqual(self.pull(url, "--to", self.to).returncode, 0)
            self.assertEqual(len(hub.requests), 1)  # the listing
            damaged = bytearray(hub.files["model.safetensors"])
            damaged[1234] ^= 1
            (self.to / "model.safetensors").write_bytes(damaged)
            self.assertEqual(self.pull(url, "--to", self.to).returncode, 0)
        self.check(hub.files, ["model.safetensors", "config.json", "tokenizer.model"])

    def test_cut_a_hundred_times_it_still_arrives_whole(self):
        hub = Hub({"model.safetensors": random_bytes(50_000_000, 5), "config.json": b"{}"})
        hub.cuts_left = 100
        with serving(hub) as url:
            done = self.pull(url, "--to", self.to)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(hub.cuts_left, 0)
        self.check(hub.files, ["model.safetensors", "config.json"])

    def test_killed_at_random_it_goes_on(self):
        hub = Hub({"model.safetensors": random_bytes(100_000_000, 6), "config.json": b"{}"})
        hub.slow_bytes_per_s = 30_000_000
        kills = 0
        moments = random.Random(3)
        with serving(hub) as url:
            command = [PROGRAM, "pull", REPOSITORY, "--to", str(self.to), "--connections", "2"]
            for _ in range(20):
                process = subprocess.Popen(command, env=self.environment(url), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                try:
                    process.wait(timeout=moments.uniform(0.1, 0.9))
                    break
                except subprocess.TimeoutExpired:
                    # Interrupted, it notes what has arrived; killed, it knows of the last note.
                    process.send_signal(signal.SIGINT if kills % 2 == 0 else signal.SIGKILL)
                    kills += 1
                process.wait()
            hub.slow_bytes_per_s = 0
            done = self.pull(url, "--to", self.to)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreater(kills, 0)
        self.check(hub.files, ["model.safetensors", "config.json"])

    def test_what_was_noted_is_not_fetched_again(self):
        hub = Hub({"model.safetensors": random_bytes(100_000_000, 6)})
        hub.slow_bytes_per_s = 40_000_000
        with serving(hub) as url:
            command = [PROGRAM, "pull", REPOSITORY, "--to", str(self.to), "--connections", "1"]
            process = subprocess.Popen(command, env=self.environment(url), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            hub.wait_for_storage(3)  # so two chunks have come
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 1)
            self.assertIn("stopped; the same command goes on", error)
            hub.slow_bytes_per_s = 0
            hub.requests.clear()
            self.assertEqual(self.pull(url, "--to", self.to).returncode, 0)
        fetched = sum(1 for server, *_ in hub.requests if server == "storage")
        self.assertLess(fetched, 6)  # of six chunks
        self.check(hub.files, ["model.safetensors"])

    def test_it_can_be_stopped_while_it_asks_what_is_there(self):
        hub = Hub(small_files())
        hub.silent = threading.Event()
        with serving(hub) as url:
            command = [PROGRAM, "pull", REPOSITORY, "--to", str(self.to)]
            process = subprocess.Popen(command, env=self.environment(url), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            end = time.monotonic() + 60
            while not hub.requests and time.monotonic() < end:
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=60)
            hub.silent.set()
        self.assertEqual(process.returncode, 1)
        self.assertIn("stopped; the same command goes on", error)

    def test_busy_and_broken_servers_are_asked_again(self):
        hub = Hub(small_files())
        hub.busy_left, hub.broken_left = 3, 2
        with serving(hub) as url:
            done = self.pull(url, "--to", self.to)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.check(hub.files, ["model.safetensors", "config.json", "tokenizer.model"])

    def test_a_wrong_checksum_is_an_error_and_leaves_nothing(self):
        hub = Hub(small_files())
        hub.listed["model.safetensors"] = {"lfs": {"sha256": "0" * 64, "size": 300_000}}
        with serving(hub) as url:
            done = self.pull(url, "--to", self.to)
        self.assertEqual(done.returncode, 1)
        self.assertIn("its checksum is", done.stderr)
        self.assertEqual([p.name for p in self.to.glob("model.safetensors*")], [])

    def test_the_token_is_found_and_kept_from_other_hosts(self):
        hub = Hub(small_files())
        hub.token = "hf_secret"
        with serving(hub) as url:
            refused = self.pull(url, "--to", self.to)
            wrong = self.pull(url, "--to", self.to, HF_TOKEN="hf_wrong")
            (self.folder / "token").write_text("hf_secret\n")
            done = self.pull(url, "--to", self.to, HF_HOME=str(self.folder))
        self.assertEqual(refused.returncode, 1)
        self.assertIn("needs a token: set HF_TOKEN", refused.stderr)
        self.assertIn("does not accept the token", wrong.stderr)
        self.assertEqual(done.returncode, 0, done.stderr)
        storage = [request for request in hub.requests if request[0] == "storage"]
        self.assertGreater(len(storage), 0)
        self.assertTrue(all(authorization is None for *_, authorization in storage))

    def test_what_is_not_there_is_said_so(self):
        hub = Hub(small_files())
        hub.gone.add("tokenizer.model")
        with serving(hub) as url:
            missing = self.pull(url, "--to", self.to)
            revision = self.pull(url, "--to", self.to, "--revision", "no/such")
        self.assertEqual(missing.returncode, 1)
        self.assertIn("tokenizer.model", missing.stderr)
        self.assertIn("is not there (404)", missing.stderr)
        self.assertIn("owner/model at no/such: is not there (404)", revision.stderr)

    def test_a_server_without_ranges_serves_small_files_only(self):
        hub = Hub({"model.safetensors": random_bytes(300_000, 1)})
        hub.serves_ranges = False
        with serving(hub) as url:
            self.assertEqual(self.pull(url, "--to", self.to).returncode, 0)
            hub.files["model.safetensors"] = random_bytes(20_000_000, 1)
            large = self.pull(url, "--to", self.to)
        self.assertEqual(large.returncode, 1)
        self.assertIn("sends whole files only", large.stderr)

    def test_a_file_longer_than_listed_is_an_error_at_once(self):
        hub = Hub({"model.safetensors": random_bytes(300_000, 1)})
        hub.listed["model.safetensors"] = {"lfs": {"sha256": "0" * 64, "size": 200_000}}
        hub.serves_ranges = False
        begin = time.monotonic()
        with serving(hub) as url:
            done = self.pull(url, "--to", self.to)
        self.assertEqual(done.returncode, 1)
        self.assertIn("is longer than the 200000 bytes the hub says", done.stderr)
        self.assertLess(time.monotonic() - begin, 10)

    def test_no_link_in_the_folder_is_followed(self):
        hub = Hub(small_files())
        self.to.mkdir(parents=True)
        victim = self.folder / "victim"
        victim.write_text("precious")
        (self.to / "config.json.partial").symlink_to(victim)
        with serving(hub) as url:
            done = self.pull(url, "--to", self.to)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(victim.read_text(), "precious")

    def test_a_note_without_its_bytes_counts_for_nothing(self):
        data = random_bytes(300_000, 1)
        hub = Hub({"model.safetensors": data})
        self.to.mkdir(parents=True)
        (self.to / "model.safetensors.partial.chunks").write_text(f"{hashlib.sha256(data).hexdigest()} {len(data)}\n1\n")
        with serving(hub) as url:
            done = self.pull(url, "--to", self.to)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.check(hub.files, ["model.safetensors"])

    def test_names_that_leave_the_folder_are_refused(self):
        for name in ("../evil.json", "/etc/evil.json", "a/../../evil.json", "a\\evil.json", "", "a//b", "."):
            hub = Hub({"model.safetensors": b"x"})
            hub.listed["model.safetensors"] = {"rfilename": name}
            with serving(hub) as url:
                done = self.pull(url, "--to", self.to, "--include", "*")
            self.assertEqual(done.returncode, 1, name)
            self.assertIn("no plain relative path", done.stderr)

    def test_room_is_checked_before_anything_comes(self):
        hub = Hub(small_files())
        hub.listed["model.safetensors"] = {"lfs": {"sha256": "0" * 64, "size": 1 << 49}}
        with serving(hub) as url:
            done = self.pull(url, "--to", self.to)
        self.assertEqual(done.returncode, 1)
        self.assertIn("are free but", done.stderr)
        self.assertEqual([request for request in hub.requests if request[0] == "storage"], [])

    def test_a_disk_that_fills_up_is_an_error_and_what_came_is_kept(self):
        disk = self.folder / "disk"
        disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(disk)], capture_output=True, check=False)
        if mounted.returncode != 0:
            self.skipTest("needs the right to mount a small disk")
        self.addCleanup(subprocess.run, ["umount", str(disk)], check=False)
        self.to = disk / "model"
        hub = Hub({"model.safetensors": random_bytes(50_000_000, 8)})
        hub.slow_bytes_per_s = 10_000_000
        with serving(hub) as url:
            command = [PROGRAM, "pull", REPOSITORY, "--to", str(self.to), "--connections", "1"]
            process = subprocess.Popen(command, env=self.environment(url), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            hub.wait_for_storage(2)
            (disk / "filler").write_bytes(bytes(25_000_000))
            _, error = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 1)
            self.assertIn("No space left on device", error)
            (disk / "filler").unlink()
            hub.slow_bytes_per_s = 0
            done = self.pull(url, "--to", self.to)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.check(hub.files, ["model.safetensors"])

    def test_two_at_once_do_not_mix(self):
        hub = Hub({"model.safetensors": random_bytes(20_000_000, 9)})
        hub.slow_bytes_per_s = 10_000_000
        with serving(hub) as url:
            command = [PROGRAM, "pull", REPOSITORY, "--to", str(self.to), "--connections", "1"]
            first = subprocess.Popen(command, env=self.environment(url), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            hub.wait_for_storage(1)
            second = self.pull(url, "--to", self.to)
            self.assertEqual(first.wait(timeout=60), 0)
        self.assertEqual(second.returncode, 1)
        self.assertIn("another process is pulling it", second.stderr)
        self.check(hub.files, ["model.safetensors"])

    def test_usage_errors(self):
        for repository in ("model", "a/b/c", "../x", "a/..", "a b/c", "/x"):
            done = subprocess.run([PROGRAM, "pull", repository], env=self.environment("http://127.0.0.1:9"), capture_output=True,
                                  text=True, check=False)
            self.assertEqual(done.returncode, 1, repository)
            self.assertIn("is no repository", done.stderr)
        nobody = self.pull("http://127.0.0.1:9", "--to", self.to)
        self.assertEqual(nobody.returncode, 1)
        self.assertIn("owner/model at main", nobody.stderr)
        self.assertIn("must begin with https://", self.pull("ftp://x", "--to", self.to).stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
