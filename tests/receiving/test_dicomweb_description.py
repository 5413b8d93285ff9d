"""The OpenAPI description: valid, complete for DICOMweb, and shown by a page of our own."""

from __future__ import annotations

import json

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from openapi_spec_validator import validate

from tests.factories import SiteFactory, UserFactory
from workstation.receiving.dicomweb.attributes import KEYS
from workstation.receiving.dicomweb.urls import urlpatterns

pytestmark = pytest.mark.django_db


@pytest.fixture
def reader() -> Client:
    client = Client()
    client.force_login(UserFactory(sites=[SiteFactory()]))
    return client


def test_the_description_is_valid_and_names_every_route(reader: Client) -> None:
    answer = reader.get("/api/schema/", headers={"Accept": "application/vnd.oai.openapi+json"})
    description = json.loads(answer.content)
    validate(description)
    paths = description["paths"]
    for pattern in urlpatterns:
        path = "/dicomweb/" + str(pattern.pattern).replace("<str:", "{").replace(">", "}")
        operation = paths[path]["get"]
        assert operation["tags"] == ["DICOMweb"], path
        assert {"token": []} in operation["security"]
        assert {"200", "401", "403", "404", "406"} <= operation["responses"].keys(), path
    assert "multipart/related" in paths["/dicomweb/studies"]["post"]["requestBody"]["content"]
    assert "post" in paths["/dicomweb/studies/{study_uid}"]
    named = {p["name"] for p in paths["/dicomweb/instances"]["get"]["parameters"]}
    assert {key.keyword for key in KEYS} | {"limit", "offset", "includefield"} <= named
    names = [op["operationId"] for path in paths.values() for op in path.values()]
    assert len(names) == len(set(names))


def test_its_page_needs_nothing_from_elsewhere(reader: Client) -> None:
    page = reader.get("/api/").content.decode()
    assert "https://" not in page and "cdn" not in page
    for name in ("swagger-ui-bundle.js", "swagger-ui-standalone-preset.js", "swagger-ui.css"):
        assert f"/static/drf_spectacular_sidecar/swagger-ui-dist/{name}" in page
        assert finders.find(f"drf_spectacular_sidecar/swagger-ui-dist/{name}")
    script = reader.get("/api/?script=")
    assert script["Content-Type"] == "application/javascript"
    assert "/api/schema/" in script.content.decode()
    assert Client().get("/api/").status_code in (302, 401, 403)
