"""A headless Chromium, driven over its own DevTools protocol: no driver to install beside it."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
]
SECONDS = 20


def found() -> str | None:
    """The path of a Chromium, by `CHROMIUM` in the environment or on PATH; None where there is none."""
    if named := os.environ.get("CHROMIUM"):
        return shutil.which(named)
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab. What it reports as an error gathers in `errors`."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._number = socket, 0
        self.errors: list[str] = []
        self.loaded = 0
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What the browser answers to one command. Raises RuntimeError where it refuses."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=SECONDS))
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return dict(message["result"])
            self._note(message)

    def width(self, pixels: int, height: int = 900) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=pixels, height=height, deviceScaleFactor=1, mobile=pixels < 640
        )

    def open(self, address: str) -> None:
        before = self.loaded
        self.call("Page.navigate", url=address)
        self.wait_for_load(before)

    def wait_for_load(self, before: int) -> None:
        """Until a page has loaded since `loaded` was `before`."""
        deadline = time.monotonic() + SECONDS
        while self.loaded == before:
            if time.monotonic() > deadline:
                raise RuntimeError("the page did not load")
            self.run("1")
            time.sleep(0.02)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, promises awaited. Raises RuntimeError for one that throws."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script[:80]}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def follow(self, script: str) -> None:
        """Runs a script that leads to another page, and waits for that."""
        before = self.loaded
        self.run(script)
        self.wait_for_load(before)

    def press(self, key: str, code: int, text: str = "") -> None:
        """A key going down and up, as from a keyboard."""
        known = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **known)
        self.call("Input.dispatchKeyEvent", type="keyUp", **known)

    def type(self, words: str) -> None:
        self.call("Input.insertText", text=words)

    def screenshot(self, path: Path) -> None:
        """The whole page, as far down as it goes, as PNG at `path`."""
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(picture["data"]))

    def _note(self, message: dict[str, Any]) -> None:
        method, what = message.get("method"), message.get("params", {})
        if method == "Page.loadEventFired":
            self.loaded += 1
        elif method == "Runtime.exceptionThrown":
            self.errors.append(str(what["exceptionDetails"].get("text")))
        elif method == "Log.entryAdded" and what["entry"]["level"] == "error":
            self.errors.append(f"{what['entry']['text']} {what['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and what["type"] == "error":
            self.errors.append(str([part.get("value") for part in what["args"]]))


@contextmanager
def browsing(path: str, downloads: Path) -> Iterator[Page]:
    """A new tab of a Chromium with an empty profile, which is ended with the block; files it is given go to
    `downloads`.
    """
    import urllib.request

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [path, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port = _port(Path(profile) / "DevToolsActivePort", process)
            request = urllib.request.Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT")
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                address = json.load(answer)["webSocketDebuggerUrl"]
            with connect(address, max_size=None) as socket:
                page = Page(socket)
                page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
                yield page
        finally:
            process.terminate()
            process.wait(timeout=SECONDS)


def _port(file: Path, process: "subprocess.Popen[bytes]") -> int:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if file.exists() and (words := file.read_text().split()):
            return int(words[0])
        time.sleep(0.05)
    raise RuntimeError("Chromium does not start")
