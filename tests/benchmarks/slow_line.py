"""A CT of 512 x 512 x 300 and its PET over slow lines: ``python -m tests.benchmarks.slow_line``.

The product's web server behind a proxy with a rate and a delay (``tests/reading/slow_line.py``).
First a plain client: when the coarsest level of both volumes is complete, and the first full slice
at the focus. Then slices drawn by the server (512 pixels, WebP, fused). Then Chromium (software
rendering) opens the case page over the same line: when every pane shows every fused layer, counted
from the stream's opening and from the click, with a warm cache of scripts as a reader has it from
the second case on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

from tests.benchmarks.streaming import MALLOC, UVICORN, running
from tests.reading.slow_line import SlowLine
from tests.receiving.servers import ROOT, free_port

LINES = ((10, 0.05), (2, 0.05), (0.3, 0.05))
"""Mbit/s and round trip."""
WATCH = """
window.slow = {};
addEventListener('DOMContentLoaded', () => {
  const look = () => {
    const state = window.radfuse?.state();
    if (state) {
      window.slow.mounted ??= performance.now();
      if (state.covered) { window.slow.covered ??= performance.now(); return; }
    }
    setTimeout(look, 10);
  };
  look();
});
"""


@contextmanager
def line(port: int, mbit: float, round_trip: float) -> Iterator[tuple[int, SlowLine]]:
    """The proxy in a loop of its own; its port."""
    loop = asyncio.new_event_loop()
    slow = SlowLine(port, mbit * 1e6, round_trip)
    opened = slow.open()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    own = asyncio.run_coroutine_threadsafe(opened.__aenter__(), loop).result(10)
    try:
        yield own, slow
    finally:
        asyncio.run_coroutine_threadsafe(opened.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)


async def read(port: int, case: dict[str, Any], seconds: float) -> dict[str, Any]:
    """A client that acknowledges as the browser does, for some seconds."""
    layers = {layer["id"]: layer for layer in case["layers"]}
    first = case["layers"][0]
    focus = {"layer": first["id"], "slice": first["slices"] // 2}
    coarse = dict.fromkeys(layers, 0)
    seen: dict[str, Any] = {}
    fine: list[float] = []
    started = time.perf_counter()
    received = told = total = 0
    window, rate, since, fresh = 262_144, 0.0, 0.0, 0
    address = f"ws://127.0.0.1:{port}/ws/cases/{case['case']}/slices/"
    async with connect(
        address, additional_headers={"Cookie": f"sessionid={case['session']}"}, max_size=None
    ) as socket:
        seen["connected"] = time.perf_counter() - started
        await socket.send(
            json.dumps(
                {
                    "type": "open", "versions": [2], "window": window, "rate": 0,
                    "layers": list(layers), "focus": focus, "have": {},
                }
            )
        )  # fmt: skip
        end = started + seconds
        while (left := end - time.perf_counter()) > 0:
            try:
                message = await asyncio.wait_for(socket.recv(), left)
            except TimeoutError:
                break
            now = time.perf_counter()
            if isinstance(message, str):
                continue
            received += len(message)
            total += 1
            since = since or now
            fresh += len(message)
            if now - since > 0.25:
                rate, since, fresh = fresh / (now - since), now, 0
                window = int(min(max(rate / 2, 65_536), 4_194_304))
            if (received - told) * 4 >= window:
                told = received
                credit = {"type": "credit", "received": received, "window": window}
                await socket.send(json.dumps({**credit, "rate": int(rate)}))
            layer, level = struct.unpack_from("<IH", message, 4)
            seen.setdefault("first_slice", now - started)
            if level == 0:
                seen.setdefault("first_full_slice", now - started)
                fine.append(now - started)
            elif level == len(layers[layer]["levels"]) - 1:
                coarse[layer] += 1
                if all(coarse[one] == layers[one]["coarse_slices"] for one in layers):
                    seen["usable"] = now - started
                    seen["bytes_until_usable"] = received
    seen["full_slices_after_window"] = len(fine)
    return seen


def draw(port: int, case: dict[str, Any]) -> dict[str, Any]:
    """Seconds and bytes of a picture of each plane: the first, and then its neighbour."""
    layers = ",".join(str(layer["id"]) for layer in case["layers"])
    seen: dict[str, Any] = {}
    for plane in ("axial", "sagittal", "coronal"):
        for name, position in (("first", 120), ("next", 121)):
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/api/cases/{case['case']}/slice.webp"
                f"?plane={plane}&position={position}&layers={layers}",
                headers={"Cookie": f"sessionid={case['session']}"},
            )
            started = time.perf_counter()
            with urllib.request.urlopen(request, timeout=60) as answer:
                size = len(answer.read())
            seen[f"{plane}_{name}"] = {"seconds": time.perf_counter() - started, "bytes": size}
    return seen


def browse(port: int, case: dict[str, Any]) -> dict[str, float]:
    """The case page in Chromium: the second time, so that its scripts are in the cache."""
    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import CHROMIUM, FLAGS

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(viewport={"width": 1600, "height": 950})
        context.add_cookies(
            [{"name": "sessionid", "value": case["session"], "url": f"http://127.0.0.1:{port}"}]
        )
        context.add_init_script(WATCH)
        times: dict[str, float] = {}
        for visit in ("first_visit", "again"):
            page = context.new_page()
            opened: list[float] = []
            page.on("websocket", lambda ws, o=opened: "slices" in ws.url and o.append(time.time()))
            clicked = time.time()
            page.goto(f"http://127.0.0.1:{port}/cases/{case['case']}/", timeout=120_000)
            end = time.monotonic() + 120
            while not page.evaluate("window.slow?.covered ?? 0"):
                assert time.monotonic() < end, "no fused view within two minutes"
                time.sleep(0.02)
            origin = page.evaluate("performance.timeOrigin") / 1000
            covered = origin + page.evaluate("window.slow.covered") / 1000
            times[f"{visit}_click_to_usable"] = covered - clicked
            times[f"{visit}_stream_to_usable"] = covered - opened[0]
            if visit == "again":
                page.screenshot(path=str(Path(tempfile.gettempdir()) / "slow-line.png"))
            page.close()
        browser.close()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--no-browser", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("RADFUSE_", "DJANGO_"))},
            **MALLOC,
            "DJANGO_SETTINGS_MODULE": "workstation.settings.embedded",
            "RADFUSE_HOME": str(home / "home"),
            "RADFUSE_BROKER_URL": f"unix://{home / 'no-broker.sock'}",
            "RADFUSE_LOG_LEVEL": "WARNING",
        }
        make = (
            "from tests.benchmarks.slow_line_case import make; "
            f"make({str(home)!r}, {options.slices})"
        )
        for arguments in (
            ["migrate", "-v0"], ["collectstatic", "-v0", "--noinput"], ["shell", "-v0", "-c", make],
        ):  # fmt: skip
            command = [sys.executable, "manage.py", *arguments]
            subprocess.run(command, cwd=ROOT, env=environment, check=True)
        case = json.loads((home / "case.json").read_text())
        for layer in case["layers"]:
            shapes = ", ".join(
                "x".join(map(str, reversed(shape))) + f" {size / 1e6:.2f} MB"
                for shape, size in zip(layer["levels"], layer["bytes"], strict=True)
            )
            print(f"{layer['label']}: {shapes}")
        port = free_port()
        command = [
            sys.executable, "-m", "uvicorn", "workstation.asgi:application", "--port", str(port),
            *UVICORN,
        ]  # fmt: skip
        rows = []
        with running(command, f"http://127.0.0.1:{port}/health/", environment):
            for mbit, round_trip in LINES:
                row: dict[str, Any] = {"mbit": mbit, "round_trip_ms": round(round_trip * 1000)}
                with line(port, mbit, round_trip) as (own, _):
                    row["client"] = asyncio.run(read(own, case, 8.0))
                    row["drawn"] = draw(own, case)
                # Under the browser's threshold the page turns to those pictures by itself.
                if not options.no_browser and mbit >= 2:
                    with line(port, mbit, round_trip) as (own, _):
                        row["chromium"] = browse(own, case)
                rows.append(row)
                print(json.dumps(row, indent=1))
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
