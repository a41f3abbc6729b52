#!/usr/bin/env python3
"""The web page of `cadre serve`, as a browser shows it: headless Chromium, driven through its DevTools pipe.

CADRE names the program (or WEB_TEST_URL a server that already runs), CADRE_SOURCE_DIR the repository; WEB_TEST_SHOTS may name a
folder for pictures. Without Chromium, or where the program has no command serve, the tests are skipped, which is said.
"""

import base64
import json
import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
import urllib.parse
import urllib.request

from server_process import Server

URL = os.environ.get("WEB_TEST_URL")
BROWSER = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SHOTS = os.environ.get("WEB_TEST_SHOTS")  # a folder for pictures of what was tested
PATIENCE_S = 120


class Browser:
    """Chromium with one page. Commands go over file descriptors 3 and 4, as JSON that ends in a zero byte."""

    def __init__(self, width=1280, height=800):
        self.folder = tempfile.mkdtemp(prefix="cadre-web-test-")
        to_browser, self.commands = os.pipe()
        self.answers, from_browser = os.pipe()
        # Out of the way of 3 and 4, from and to which the browser reads and writes.
        pipes = [os.dup2(to_browser, 200, inheritable=False), os.dup2(from_browser, 201, inheritable=False)]
        self.process = os.posix_spawn(
            BROWSER,
            [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", f"--user-data-dir={self.folder}",
             f"--window-size={width},{height}", "--remote-debugging-pipe", "about:blank"],
            os.environ, setsid=True,
            file_actions=[(os.POSIX_SPAWN_DUP2, pipes[0], 3), (os.POSIX_SPAWN_DUP2, pipes[1], 4),
                          (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_DUP2, 1, 2)])
        for fd in (to_browser, from_browser, *pipes):
            os.close(fd)
        self.rest = b""
        self.number = 0
        self.complaints = []  # errors of the console, exceptions, requests to elsewhere
        self.origin = None
        self.expected_status = set()
        target = next(t for t in self.send("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    session = None

    def close(self):
        try:
            os.killpg(self.process, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(self.process, 0)
        os.close(self.commands)
        os.close(self.answers)
        shutil.rmtree(self.folder, ignore_errors=True)

    def send(self, method, **params):
        self.number += 1
        command = {"id": self.number, "method": method, "params": params}
        if self.session:
            command["sessionId"] = self.session
        os.write(self.commands, json.dumps(command).encode() + b"\0")
        while True:
            message = self._read()
            if message.get("id") == self.number:
                if "error" in message:
                    raise AssertionError(f"{method}: {message['error']}")
                return message["result"]
            self._note(message)

    def _read(self):
        deadline = time.monotonic() + PATIENCE_S
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.answers], [], [], max(0, deadline - time.monotonic()))
            piece = os.read(self.answers, 1 << 16) if ready else b""
            if not piece:
                raise AssertionError("the browser has gone silent")
            self.rest += piece
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def _note(self, message):
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(f"console.{params['type']}: {params['args']}")
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            text = params["entry"]["text"]
            if not any(str(status) in text for status in self.expected_status):
                self.complaints.append(text)
        elif method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if self.origin and not url.startswith((self.origin + "/", "blob:", "data:")):
                self.complaints.append(f"asked elsewhere: {url}")

    def open(self, url):
        parts = urllib.parse.urlsplit(url)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.send("Page.navigate", url=url)

    def value(self, expression):
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise AssertionError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, expression, what):
        deadline = time.monotonic() + PATIENCE_S
        while not self.value(f"Boolean({expression})"):
            if time.monotonic() > deadline:
                raise AssertionError(f"waited in vain for {what}; the page says: {self.value('document.body.innerText')}")
            time.sleep(0.05)

    def key(self, key, code, number, modifiers=0, text=""):
        event = {"key": key, "code": code, "windowsVirtualKeyCode": number, "modifiers": modifiers}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **event)
        self.send("Input.dispatchKeyEvent", type="keyUp", **event)

    def enter(self, modifiers=0):
        self.key("Enter", "Enter", 13, modifiers, "\r")

    def type(self, field, text):
        self.value(f"document.getElementById({json.dumps(field)}).focus()")
        self.send("Input.insertText", text=text)

    def click(self, selector):
        self.value(f"document.querySelector({json.dumps(selector)}).click()")

    def picture(self, name):
        if SHOTS:
            data = self.send("Page.captureScreenshot", format="png")["data"]
            pathlib.Path(SHOTS, f"{name}.png").write_bytes(base64.b64decode(data))


class RunningServer:
    """The one that WEB_TEST_URL names."""

    def __init__(self):
        self.url = URL.rstrip("/")

    def close(self):
        pass


@unittest.skipUnless(BROWSER, "no Chromium here: the web page is not tested")
class WebTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = RunningServer() if URL else Server()
        cls.addClassCleanup(cls.server.close)
        with urllib.request.urlopen(cls.server.url + "/v1/models", timeout=PATIENCE_S) as answer:
            cls.model = json.load(answer)["data"][0]
        cls.chats = cls.model.get("capabilities", {}).get("completion_chat", True)

    def setUp(self):
        self.browser = Browser()
        self.addCleanup(self.browser.close)
        self.browser.open(self.server.url + "/")
        field = "message" if self.chats else "sheet"
        self.browser.wait(f"document.getElementById('{field}')?.checkVisibility() && "
                          f"document.getElementById('model-name').textContent === {json.dumps(self.model['id'])}", "the page")

    def tearDown(self):
        self.assertEqual(self.browser.complaints, [])

    def write(self, text):
        """Asks, or continues a text, and waits until the answer is complete. Short, whatever the model."""
        if self.chats:
            self.browser.type("message", text)
            self.browser.enter()
        else:
            self.browser.type("sheet", text)
            self.browser.enter(modifiers=2)
        self.browser.wait("document.querySelector('.assistant .toolbar .stats, .sheet-tools:not(.live) .stats')"
                          "?.textContent.includes('token')", "the end of an answer")

    def shorten(self, tokens):
        self.browser.click("#open-settings")
        self.browser.type("setting-max_tokens", str(tokens))
        self.browser.click("#settings [aria-label='Close settings']")

    def answer(self):
        return self.browser.value("document.querySelector('.assistant .answer, .sheet-tokens .tokens, #sheet')?.innerText || "
                                  "document.getElementById('sheet').value")

    def test_answers_stream_into_the_page_and_outlive_it(self):
        self.shorten(24)
        text = "Once upon a time there was a miller"
        self.write(text)
        said = self.answer()
        self.assertGreater(len(said), len(text) if not self.chats else 0)
        self.browser.picture("answer")
        self.assertEqual(self.browser.value("document.querySelectorAll('#conversations .conversation').length"), 1)
        self.browser.open(self.server.url + "/")
        self.browser.wait("document.querySelector('#conversations .choose')", "the saved conversation")
        self.browser.click("#conversations .choose")
        self.browser.wait("document.querySelector('.assistant .answer')?.innerText || document.getElementById('sheet').value",
                          "the saved answer")
        self.assertEqual(self.answer(), said)

    def test_an_answer_can_be_tried_again_and_both_stay(self):
        self.shorten(8)
        self.write("The old man walked")
        self.browser.click("[aria-label='Answer again'], [aria-label='Continue differently']")
        self.browser.wait("document.querySelector('.assistant .switcher, .sheet-tools .switcher')?.textContent.includes('2/2')",
                          "the second answer")
        self.browser.click("[aria-label='Previous answer'], [aria-label='Previous continuation']")
        self.browser.wait("document.querySelector('.assistant .switcher, .sheet-tools .switcher')?.textContent.includes('1/2')",
                          "the first answer")

    def test_experts_colour_the_tokens_and_fill_the_heat_map(self):
        self.shorten(16)
        self.browser.click("#toggle-experts")
        self.write("The king had three daughters and")
        self.browser.wait("document.querySelectorAll('.token').length > 4", "coloured tokens")
        self.browser.wait("document.querySelectorAll('.heat tbody tr').length > 0", "the heat map")
        self.browser.picture("experts")
        rows = self.browser.value("[...document.querySelectorAll('.heat tbody tr')].map(row => "
                                  "[...row.cells].slice(1, -1).map(cell => Number(cell.textContent)))")
        self.assertGreater(len(rows[0]), 1)
        for row in rows:
            self.assertAlmostEqual(sum(row), 100, delta=len(row))
        self.browser.value("document.querySelector('.tokens').focus()")
        self.browser.key("ArrowRight", "ArrowRight", 39)
        self.assertIn("Expert", self.browser.value("document.getElementById('tip').innerText"))
        self.browser.click(".heat tbody tr:last-child")
        self.assertIn(f"Layer {len(rows) - 1}", self.browser.value("document.querySelector('.layer-row output').textContent"))

    def test_an_answer_stops_when_asked_to(self):
        self.browser.type("message" if self.chats else "sheet", "Tell a very long story about the sea. ")
        self.shorten(4000)
        running = "document.querySelector('.answer-status.live, .sheet-tools.live')"
        # Over a slow line, for a small model is quick: its answer could be whole before the page shows a token of it.
        self.browser.send("Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=2000, uploadThroughput=-1)
        self.browser.value(f"document.getElementById('{'message' if self.chats else 'sheet'}').focus()")
        self.browser.enter(modifiers=0 if self.chats else 2)
        self.browser.wait(f"{running}?.textContent.includes('token')", "a token")
        self.browser.key("Escape", "Escape", 27)
        self.browser.wait(f"!{running} && document.body.innerText.includes('Stopped')", "the answer to stop")

    def test_an_error_is_shown_in_place(self):
        self.browser.expected_status = {422, 400}
        self.browser.value("localStorage.setItem('cadre.settings', JSON.stringify({experts_per_token: 4096}))")
        self.browser.open(self.server.url + "/")
        self.browser.wait("document.getElementById('model-name')?.textContent", "the page")
        self.browser.type("message" if self.chats else "sheet", "Hello")
        self.browser.enter(modifiers=0 if self.chats else 2)
        self.browser.wait("document.querySelector('.failure')?.innerText.includes('experts_per_token')", "the error")
        self.assertTrue(self.browser.value("document.querySelector('.failure button').textContent.includes('Try again')"))

    def test_modules_keep_their_promises(self):
        page = pathlib.Path(os.environ.get("CADRE_SOURCE_DIR", "."), "tests", "web_modules.js").read_text(encoding="utf-8")
        failures = self.browser.value(f"(async () => {{\n{page}\n}})()")
        self.assertEqual(failures, [])


if __name__ == "__main__":
    unittest.main()
