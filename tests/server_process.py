"""`cadre serve` as a process: for the tests that ask it over real connections. CADRE_PROGRAM names the program, CADRE_SOURCE_DIR the
repository."""

import http.client
import json
import os
import pathlib
import re
import select
import signal
import subprocess
import tempfile

PROGRAM = os.environ.get("CADRE_PROGRAM", "cadre")
SOURCE = pathlib.Path(os.environ.get("CADRE_SOURCE_DIR", pathlib.Path(__file__).resolve().parent.parent))
NANO = SOURCE / "models" / "nano" / "nano.gguf"
# Sanitizers are slow.
INSTRUMENTED = os.environ.get("CADRE_INSTRUMENTED") == "1"
START_S = 120


class Server:
    """The program on a free port of this machine, from its first line on; killed at the end where nobody stopped it."""

    def __init__(self, *arguments, model=NANO):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [PROGRAM, "serve", str(model), "--port", "0", *map(str, arguments)], stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        ready, _, _ = select.select([self.process.stdout], [], [], START_S)
        line = self.process.stdout.readline() if ready else ""
        found = re.fullmatch(r"listening on (http://127\.0\.0\.1:(\d+))\n", line)
        if not found:
            self.close()
            raise AssertionError(f"the program does not serve: {line!r} {self.said}")
        self.url = found[1]
        self.port = int(found[2])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends the process; what it said on stderr stays in `said`."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        if not self.log.closed:
            self.said = self.read_log()
            self.log.close()

    def read_log(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def stop(self, timeout=60):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def ask(self, path, body=None, method=None, headers=None, timeout=120):
        """Status, body and headers of one request on a connection of its own; a body that is no bytes is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(
                method or ("GET" if body is None else "POST"),
                path,
                body if body is None or isinstance(body, bytes) else json.dumps(body),
                {"Content-Type": "application/json", **(headers or {})},
            )
            response = connection.getresponse()
            return response.status, response.read(), dict(response.getheaders())
        finally:
            connection.close()

    def complete(self, prompt, **fields):
        status, body, _ = self.ask("/v1/completions", {"model": "nano", "prompt": prompt, **fields})
        answer = json.loads(body)
        if status != 200:
            raise AssertionError(f"{status}: {answer}")
        return answer

    def metric(self, name):
        text = self.ask("/metrics")[1].decode()
        return float(re.search(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE).group(1))

    def peak_bytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) * 1024

    def open_files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))
