"""How fast a browser upload comes in: ``python -m tests.benchmarks.upload``.

2,000 CT slices of 530 KB over four connections to the product's web server on loopback, one tus
request a file (creation-with-upload) as the page's script does it. Counted afterwards: rows.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import http.cookies
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.receiving.objects import ct, uid
from tests.receiving.servers import ROOT, ListenerProcess, free_port

PASSWORD = "a long password"
MAKE_USER = f"""
from workstation.accounts.models import Role, Site
from workstation.accounts.services import create_user
create_user("bench", "{PASSWORD}", role=Role.RADIOLOGIST, sites=[Site.objects.get()])
"""
CONNECTIONS = 4
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Session:
    """A signed-in person's cookies and token."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies: dict[str, str] = {}
        page = self.ask("GET", "/accounts/sign-in/")
        found = re.search(rb'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert found is not None
        form = {"csrfmiddlewaretoken": found[1].decode(), "username": "bench", "password": PASSWORD}
        self.ask("POST", "/accounts/sign-in/", urllib.parse.urlencode(form).encode(), FORM)
        self.headers = {
            "Cookie": self.cookie, "X-CSRFToken": self.cookies["csrftoken"],
        }  # fmt: skip

    @property
    def cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, {"Cookie": self.cookie, **(headers or {})})
        answer = connection.getresponse()
        for value in answer.headers.get_all("Set-Cookie") or []:
            self.cookies |= {k: v.value for k, v in http.cookies.SimpleCookie(value).items()}
        data = answer.read()
        connection.close()
        return data


def send(session: Session, path: str, files: list[Path]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", session.port, timeout=60)
    for file in files:
        data = file.read_bytes()
        name = base64.b64encode(file.name.encode()).decode()
        connection.request("POST", path, data, {
            **session.headers, "Tus-Resumable": "1.0.0", "Upload-Length": str(len(data)),
            "Upload-Metadata": f"filename {name},modified MQ==",
            "Content-Type": "application/offset+octet-stream",
        })  # fmt: skip
        answer = connection.getresponse()
        answer.read()
        if answer.status != 201:
            raise RuntimeError(f"answer {answer.status}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="upload-"))
    files = []
    (home / "images").mkdir()
    pixels = {"Rows": 512, "Columns": 512}
    for number in range(options.files):
        data = ct(number, SOPInstanceUID=uid("up", number), PixelData=os.urandom(2**19), **pixels)
        files.append(home / "images" / f"{number}.dcm")
        files[-1].write_bytes(data)
    house = ListenerProcess(home / "home")
    house.prepare()
    house.manage("shell", "-v0", "-c", MAKE_USER)
    house.manage("collectstatic", "--no-input", "-v0")
    port = free_port()
    with (home / "web.log").open("wb") as log:
        web = subprocess.Popen(
            [
                sys.executable, "-m", "uvicorn", "workstation.asgi:application", "--port",
                str(port), "--loop", "uvloop", "--no-access-log", "--lifespan", "off",
            ],
            cwd=ROOT, env=house.environment, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        time.sleep(8)
        session = Session(port)
        form = urllib.parse.urlencode({"site": 1, "files": len(files)}).encode()
        started = session.ask("POST", "/receiving/uploads/", form, {**FORM, **session.headers})
        path = re.search(rb'"files_url": "([^"]+)"', started)
        assert path is not None, started
        began = time.perf_counter()
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            parts = [files[number::CONNECTIONS] for number in range(CONNECTIONS)]
            list(pool.map(lambda part: send(session, path[1].decode(), part), parts))
        seconds = time.perf_counter() - began
        size = sum(file.stat().st_size for file in files) / 1e6
        rows = house.ask("Instance.objects.count()")
        speed = f"{len(files) / seconds:.0f} files/s, {size / seconds:.0f} MB/s"
        print(f"{len(files)} files, {size:.0f} MB over {CONNECTIONS} connections: {seconds:.1f} s, "
              f"{speed}; {rows} rows")  # fmt: skip
    finally:
        web.terminate()
        web.wait()
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
