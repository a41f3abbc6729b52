"""The load tool against servers made here: it counts what they do, also what they do wrong."""
import http.server
import json
import subprocess
import sys
import threading

PROGRAM = sys.argv[1]


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    mode = "good"
    asked = 0
    at_once = 0
    most_at_once = 0
    lock = threading.Lock()

    def log_message(self, *_):
        pass

    def do_POST(self):
        cls = type(self)
        with cls.lock:
            cls.asked += 1
            number = cls.asked
            cls.at_once += 1
            cls.most_at_once = max(cls.most_at_once, cls.at_once)
        try:
            self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))), number)
        finally:
            with cls.lock:
                cls.at_once -= 1

    def answer(self, body, number):
        assert self.headers["Authorization"] == "Bearer k"
        chat = self.path == "/v1/chat/completions"
        assert chat or self.path == "/v1/completions"
        assert ("messages" in body) == chat
        if self.mode == "busy":
            return self.whole(429, {"error": {"message": "full"}})
        words = [f"{body['seed']} ", "ä ", str(number) if self.mode == "random" else "end"]
        usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
        if not body["stream"]:
            text = "".join(words)
            choice = {"message": {"content": text}} if chat else {"text": text}
            return self.whole(200, {"choices": [choice], "usage": usage})
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for word in [""] + words:
            self.event({"choices": [{"delta": {"content": word}} if chat else {"text": word}], "usage": None})
        if self.mode == "broken":
            self.close_connection = True
            return self.connection.shutdown(2)
        if self.mode == "error":
            self.event({"error": {"message": "lost"}})
        if self.mode != "uncounted":
            self.event({"choices": [], "usage": usage})
        self.chunk("data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def whole(self, status, answer):
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def event(self, event):
        text = "data: " + json.dumps(event) + "\r\n\r\n"
        self.chunk(text[:9])  # cut anywhere
        self.chunk(text[9:])

    def chunk(self, text):
        data = text.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()


def run(mode, *options, code=0):
    Server.mode, Server.asked, Server.most_at_once = mode, 0, 0
    done = subprocess.run([PROGRAM, "--url", URL, "--key", "k", "--json", "--requests", "20", "--concurrency", "5",
                           *options], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, (mode, options, done)
    return json.loads(done.stdout)


httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
httpd.daemon_threads = True
URL = f"http://127.0.0.1:{httpd.server_port}"
threading.Thread(target=httpd.serve_forever, daemon=True).start()

for extra in ([], ["--chat"]):
    report = run("good", "--check-against-alone", "6", *extra)
    assert Server.asked == 26 and Server.most_at_once <= 5, (Server.asked, Server.most_at_once)
    assert report["answered"] == 20 and report["failed"] == 0 and report["errors"] == {}
    assert report["completion_tokens"] == 100 and report["prompt_tokens"] == 140
    assert report["tokens_counted_by"] == "usage"
    assert report["compared_with_alone"] == 6 and report["different"] == 0
    assert 0 < report["first_token_s"]["p50"] <= report["first_token_s"]["p99"] <= report["request_s"]["max"]
    assert report["between_tokens_s"]["p50"] >= 0
    assert run("good", "--no-stream", *extra)["completion_tokens"] == 100
report = run("uncounted")
assert report["completion_tokens"] == 60 and report["tokens_counted_by"] == "pieces"
assert run("random", "--check-against-alone", "6", code=1)["different"] == 6
assert run("busy", code=1)["errors"] == {"429": 20}
assert run("busy", "--allow-status", "429")["failed"] == 0
assert run("error", code=1)["errors"] == {"200: lost": 20}
assert run("broken", code=1)["failed"] == 20
for url in ("https://x", "http://", "x"):
    assert subprocess.run([PROGRAM, "--url", url], capture_output=True).returncode == 1, url
print("ok")
