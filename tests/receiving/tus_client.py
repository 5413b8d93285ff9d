"""A browser's side of the tus protocol, for the tests of resumable uploads."""

from __future__ import annotations

import base64
from typing import Any

from django.test import Client
from django.urls import reverse

from tests.factories import UserFactory
from workstation.accounts.models import Role, Site

PIECES = "application/offset+octet-stream"


def signed_in(site: Site, role: Role = Role.RADIOLOGIST) -> Client:
    client = Client()
    client.force_login(UserFactory(role=role, sites=[site]))
    return client


def start(client: Client, site: Site, **values: Any) -> dict[str, Any]:
    answer = client.post(reverse("receiving:upload-start"), {"site": site.pk, **values})
    assert answer.status_code == 201, answer.content
    return answer.json()


def tus(client: Client, method: str, url: str, body: bytes = b"", **headers: Any) -> Any:
    named = {name.replace("_", "-"): str(value) for name, value in headers.items()}
    # Django's client leaves the type out when there is no body.
    return client.generic(
        method, url, body, CONTENT_TYPE=PIECES, headers={"Tus-Resumable": "1.0.0", **named}
    )


def metadata(name: str, modified: int = 7) -> str:
    pairs = {"filename": name, "modified": str(modified)}
    return ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in pairs.items())


def create(
    client: Client, url: str, name: str, size: int, body: bytes = b"", modified: int = 7
) -> Any:
    return tus(
        client, "POST", url, body, Upload_Length=size, Upload_Metadata=metadata(name, modified)
    )


def counts(client: Client, started: dict[str, Any]) -> dict[str, int]:
    return client.get(started["state_url"]).json()["counts"]
