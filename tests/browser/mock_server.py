"""A stand-in for the product's server, so that the viewer can be driven without one.

``python -m tests.browser.mock_server [port]`` serves the built frontend with the product's content
security policy, one synthetic case (view JSON, measurements, reviews, decisions in memory) and the
slice stream of ``workstation/reading/README.md``. It holds no product code: what it answers is
made from the arrays of ``mock_case``, so that tests know every voxel.
"""

from __future__ import annotations

import asyncio
import base64
import json
import mimetypes
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn

from tests.browser.mock_case import Case
from tests.browser.mock_pictures import server_picture
from tests.browser.mock_stream import MockStream

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

DIST = Path(__file__).resolve().parents[2] / "frontend" / "dist"
CSP = (
    "default-src 'self'; connect-src 'self' data: ws: wss:; img-src 'self' blob: data:; "
    "script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "worker-src 'self' blob:"
)


REPORT = """<h2>Report</h2>
<div class="field"><label for="text">Findings</label><textarea id="text"></textarea></div>
"""


class App:
    """The ASGI application."""

    def __init__(self, case: Case) -> None:
        self.case = case

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self.http(scope, receive, send)
        elif scope["type"] == "websocket" and "slices" in scope["path"]:
            await MockStream(self.case, receive, send).run()
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (await receive())["type"] != "websocket.disconnect":
                pass

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        status, kind, content = 200, "application/json", b""
        more: list[tuple[bytes, bytes]] = []
        if path == "/" or path.startswith("/cases/"):
            shown = path.removeprefix("/cases/").rstrip("/") or "1"
            second = b"window=2" in scope.get("query_string", b"")
            kind, content = "text/html; charset=utf-8", page(shown, second=second).encode()
        elif path.startswith("/static/viewer/"):
            file = DIST / path.removeprefix("/static/viewer/")
            kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
            content = file.read_bytes() if file.is_file() else b""
            status = 200 if file.is_file() else 404
        elif path in ("/api/cases/1/view/", "/api/cases/2/view/"):
            view = self.case.view()
            if "/2/" in path:  # another patient, for tests of the second window
                view = view | {"case": view["case"] | {"id": 2}}
                view["patient"] = view["patient"] | {"patient_id": "SYN-2"}
            content = json.dumps(view).encode()
        elif path.startswith("/api/cases/1/slice."):
            content, more = server_picture(self.case, scope["query_string"].decode())
            kind = "image/png"
            self.case.pictures.append(scope["query_string"].decode())
        elif method == "GET" and path.startswith("/api/registrations/"):
            content = json.dumps(self.case.tools.state()).encode()
        elif method == "DELETE" and path.startswith("/api/landmarks/"):
            wanted = int(path.rstrip("/").rsplit("/", 1)[1])
            content = json.dumps(self.case.tools.delete_landmark(wanted)[1]).encode()
        elif "/picture/" in path:
            picture = self.case.marks.pictures[int(path.split("/")[3])]
            kind, content = "image/jpeg", base64.b64decode(picture.partition(",")[2])
        elif "/measurements/" in path or "/key-images/" in path:
            asked = json.loads(body) if body else None
            marks = self.case.marks
            status, answer = await asyncio.to_thread(marks.answer, method, path, asked)
            content = b"" if answer is None else json.dumps(answer).encode()
        elif path == "/api/next-case/warm/":
            self.case.warmed += 1
            content = b'{"ready": true}'
        elif method == "POST":
            status, answer = self.case.post(path, json.loads(body))
            content = json.dumps(answer).encode()
        elif method == "PUT" and path.startswith("/api/preferences/"):
            key = path.removeprefix("/api/preferences/").rstrip("/")
            self.case.preferences[key] = json.loads(body)["value"]
            status = 204
        else:
            status = 404
        headers = [(b"content-type", kind.encode()), (b"content-security-policy", CSP.encode())]
        headers += more
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})


def page(case: str = "1", second: bool = False) -> str:
    """The case page as the product lays it out."""
    body = "case-page second-window" if second else "case-page"
    panel = "" if second else REPORT
    manifest = json.loads((DIST / "manifest.json").read_text())
    tags = ""
    for entry in ("src/pages.ts", "src/viewer/main.ts"):
        tags += "".join(
            f'<link rel="stylesheet" href="/static/viewer/{css}">'
            for css in manifest[entry].get("css", [])
        )
        tags += f'<script type="module" src="/static/viewer/{manifest[entry]["file"]}"></script>'
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Radfuse</title>
<meta name="csrf-token" content="mock">{tags}</head><body class="{body}" data-live="0">
<header class="app-header"><a class="brand" href="/">Radfuse</a>
<ul class="nav"><li><a href="/" aria-current="page">Worklist</a></li></ul>
<div class="user"><span data-live-state></span>Dr Demo</div></header>
<div class="banner"><span class="patient-name">SYNTHETIC^ADA</span>
<span class="item"><span class="key">ID</span>SYN-{case}</span>
<span class="item"><span class="key">Born</span>1970-01-01 (56 y)</span>
<span class="item"><span class="key">Sex</span>F</span>
<span class="badge badge--synthetic">SYNTHETIC</span></div>
<main class="case-layout"><section class="case-viewer" aria-label="Images">
<div id="viewer" data-case="{case}" data-patient-id="SYN-{case}"
 data-view-url="/api/cases/{case}/view/"></div></section>
<aside class="case-panel" aria-label="Report">{panel}</aside></main>
</body></html>"""


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8765
    uvicorn.run(
        App(Case()),
        port=port,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
