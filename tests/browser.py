# SPDX-License-Identifier: LGPL-3.0-only
"""Drives a headless Chromium over its DevTools protocol, for the tests of the page.

    with Browser() as browser:
        page = browser.open(path, width=390)
        page.evaluate("document.title"); page.requests; page.errors

Pipes in place of a WebSocket (--remote-debugging-pipe), so that nothing has to be installed for it.
"""
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

LONGEST = 60  # seconds to wait for an answer
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_browser():
    """Returns the path of a Chromium, or None."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class BrowserError(Exception):
    """What the browser says is wrong with a command."""


class Browser:
    """A Chromium without a screen. open() returns a Page; messages are taken one at a time."""

    def __init__(self):
        self._number = 0
        self._events = []

    def __enter__(self):
        self._folder = tempfile.mkdtemp()
        read_here, write_there = os.pipe()
        read_there, write_here = os.pipe()

        def connect():
            # It reads commands at 3 and writes answers at 4.
            commands, answers = os.dup(read_there), os.dup(write_there)
            os.dup2(commands, 3)
            os.dup2(answers, 4)

        self._process = subprocess.Popen(
            [
                find_browser(), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
                "--disable-dev-shm-usage", "--disable-background-networking",
                "--user-data-dir=" + self._folder, "--remote-debugging-pipe", "about:blank",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=connect,
            close_fds=False,
        )
        os.close(read_there)
        os.close(write_there)
        self._answers = os.fdopen(read_here, "rb")
        self._commands = os.fdopen(write_here, "wb")
        self._buffer = b""
        return self

    def __exit__(self, *error):
        self.call("Browser.close")
        try:
            self._process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()
        self._commands.close()
        # Its helpers may still write to it for a moment.
        shutil.rmtree(self._folder, ignore_errors=True)

    def open(self, url, width, dark=False):
        """Returns a Page of a URL at a width in CSS pixels, once it has been loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(domain + ".enable")
        page.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.call("Emulation.setEmulatedMedia", features=[scheme])
        # The empty page it has before may tell only now that it was loaded: it is not this one.
        page.evaluate("window.before = true")
        page.call("Page.navigate", url=url)
        page.wait_until_renewed()
        return page

    def call(self, method, session=None, **parameters):
        """Returns the result of a command; events that come before it are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        self._commands.write(json.dumps(message).encode() + b"\0")
        self._commands.flush()
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise BrowserError(answer["error"])
                return answer["result"]
            self._events.append(answer)

    def forget(self):
        """Drops the events that came so far."""
        self._events.clear()

    def events(self, session):
        """Returns the events of a page that came so far."""
        return [event for event in self._events if event.get("sessionId") == session]

    def _receive(self):
        while b"\0" not in self._buffer:
            assert select.select([self._answers], [], [], LONGEST)[0], "the browser says nothing"
            data = os.read(self._answers.fileno(), 65536)
            assert data, "the browser has ended"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message.decode())


class Page:
    """A page that a Browser has opened."""

    def __init__(self, browser, session):
        self.browser = browser
        self.session = session

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def wait_until_renewed(self):
        """Waits until another document is loaded than the one with a window.before."""
        deadline = time.monotonic() + LONGEST
        while True:
            try:
                if self.evaluate("!window.before && document.readyState === 'complete'"):
                    return
            except BrowserError:
                # The document that was asked has gone meanwhile.
                pass
            assert time.monotonic() < deadline, "the page is not loaded"
            time.sleep(0.01)

    def evaluate(self, script):
        """Returns the value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def click(self, selector):
        """Presses the mouse in the middle of the first element that a selector finds."""
        x, y = self.evaluate(
            "(() => {{ const e = document.querySelector({}); e.scrollIntoView({{block: 'center'}});"
            "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2];"
            "}})()".format(json.dumps(selector))
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1
            )

    def press(self, key, code, text=""):
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key,
                windowsVirtualKeyCode=code, text=text if kind == "keyDown" else "",
            )

    @property
    def requests(self):
        """The URLs of all that was requested, data: aside, which is in the page itself."""
        urls = [
            event["params"]["request"]["url"] for event in self.browser.events(self.session)
            if event["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in urls if not url.startswith("data:")]

    @property
    def errors(self):
        """What the page, or its policy, complained of."""
        wanted = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [
            event["params"] for event in self.browser.events(self.session)
            if event["method"] in wanted
        ]
