"""The whole chain as its users live it: real product, real workers, real Chromium.

One story in order; each step asserts what a radiologist would see.
"""

from __future__ import annotations

import base64
import io
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image

from tests.browser.product import PASSWORD, Product
from tests.conftest import need

sync_api = pytest.importorskip("playwright.sync_api")

FLAGS = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]  # fmt: skip
ANALYSIS_SECONDS = 420
THORAX = "SYNTHETIC, Thorax One"

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    started = Product(tmp_path_factory.mktemp("story") / "home")
    yield started
    assert started.stop() == 0, started.said()
    assert started.pids("") == [], "Ctrl-C leaves no process behind"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = need("chromium")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


Opener = Callable[[str], Any]


@pytest.fixture(scope="module")
def open_as(product: Product, browser: Any) -> Iterator[Opener]:
    """A signed-in page per person, each in a browser profile of its own."""
    contexts: list[Any] = []
    problems: list[str] = []

    def sign_in(name: str) -> Any:
        context = browser.new_context(
            viewport={"width": 1680, "height": 1000}, base_url=product.url, accept_downloads=True
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto("/accounts/sign-in/")
        page.fill("#id_username", name)
        page.fill("#id_password", PASSWORD)
        page.click("button[type=submit]")
        page.wait_for_selector("h1:has-text('Worklist')")
        return page

    yield sign_in
    for context in contexts:
        context.close()
    assert problems == []


def until(what: Callable[[], Any], seconds: float, why: str) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = what()
        if value:
            return value
        time.sleep(0.5)
    raise AssertionError(f"not within {seconds:.0f} s: {why}")


def hook(page: Any, name: str) -> Any:
    return page.evaluate(f"window.radfuse ? window.radfuse.{name} : false")


def pane_pixels(page: Any, pane: str = "fused") -> np.ndarray:
    """The drawn image of one pane, [row, column, RGB]; labels and marks lie above it."""
    data = page.evaluate(f"window.radfuse.canvas('{pane}').toDataURL('image/png')")
    picture = Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2])))
    return np.asarray(picture.convert("RGB"), dtype=np.int16)


def coloured(pixels: np.ndarray) -> float:
    """Share of pixels that are not grey: the fused layer."""
    return float(np.mean(pixels.max(axis=-1) - pixels.min(axis=-1) > 24))


def test_the_whole_chain(product: Product, open_as: Opener) -> None:
    need("pdftotext")
    reader = open_as("radiologist")

    # --- the list fills by itself: no reload, only live notices ---
    reader.goto("/?tab=all")
    row = reader.locator("tr[data-case]", has_text=THORAX)
    row.wait_for(timeout=ANALYSIS_SECONDS * 1000)
    row.locator(".badge--ready").wait_for(timeout=ANALYSIS_SECONDS * 1000)
    case = row.get_attribute("data-case")

    # --- the keyboard way: arrows walk the rows, and a live refresh keeps the place ---
    reader.keyboard.press("ArrowDown")
    assert reader.evaluate("document.activeElement.id").startswith("act-")

    # --- the claim is a lock ---
    second = open_as("radiologist2")
    row.get_by_role("button", name="Read", exact=True).click()
    reader.wait_for_url(f"**/cases/{case}/")
    second.goto("/?tab=all")
    theirs = second.locator("tr[data-case]", has_text=THORAX)
    theirs.get_by_text("Held by Rosa Demo").wait_for()
    assert theirs.get_by_role("button", name="Read", exact=True).count() == 0
    refused = second.request.post(
        f"/worklist/{case}/claim/",
        headers={
            "X-CSRFToken": second.locator("meta[name=csrf-token]").get_attribute("content"),
            "Referer": product.url,
        },
    )
    assert "Rosa Demo is reading this case" in refused.text()

    # --- images: fused, badged, labelled ---
    until(lambda: hook(reader, "ready"), 90, "the first image")
    until(lambda: hook(reader, "complete"), 120, "every slice")
    shown = reader.evaluate("window.radfuse.state()")
    assert (shown["protocol"], len(shown["panes"])) == ("pet-ct", 4)  # chosen by rule
    fused = pane_pixels(reader)
    assert fused.max() > 60
    assert coloured(fused) > 0.01, "PET is drawn over CT"
    reader.locator("#viewer").get_by_text("Same frame of reference").first.wait_for()
    assert reader.locator("#viewer").get_by_text("Not for diagnostic use").count() >= 1
    assert reader.locator("#viewer").get_by_text("SYNTHETIC").count() >= 1
    assert THORAX in reader.locator("[data-patient-banner]").inner_text()
    reader.keyboard.press("f")
    until(lambda: coloured(pane_pixels(reader)) < 0.01, 20, "fusion off by its key")
    reader.keyboard.press("f")
    until(lambda: coloured(pane_pixels(reader)) > 0.01, 20, "fusion on again")

    # --- the socket drops (the web server is killed): the stream and the page come back ---
    product.kill("uvicorn")
    until(lambda: _alive(product), 60, "the launcher starts the web server again")
    reader.locator("#viewer").get_by_text("Connected").wait_for(timeout=60_000)
    assert coloured(pane_pixels(reader)) > 0.01

    # --- the draft is saved while typing and survives a reload ---
    own = reader.locator("[data-section=indication] textarea").last
    own.fill("Staging of a pulmonary nodule.")
    reader.locator("#report-form[data-autosave-status=saved]").wait_for()
    reader.reload()
    field = reader.locator("[data-section=indication] textarea").last
    field.wait_for()
    assert field.input_value() == "Staging of a pulmonary nodule."

    # --- every finding is judged ---
    findings = reader.locator(".case-panel [data-finding]")
    findings.first.wait_for()
    count = findings.count()
    assert count >= 1
    for number in range(count):
        name = "Reject" if number == count - 1 and count > 1 else "Accept"
        findings.nth(number).get_by_role("button", name=name, exact=True).click()
        reader.locator(
            f".case-panel [data-finding] >> nth={number}"
        ).and_(reader.locator(":not([data-state=pending])")).wait_for()
    reader.locator("[data-pending='0']").wait_for()

    # --- sign: the password again, what changed, who the patient is ---
    reader.click("#open-sign")
    dialog = reader.locator("#sign-dialog")
    dialog.get_by_text("Staging of a pulmonary nodule.").first.wait_for()
    assert THORAX in dialog.locator("[data-sign-banner]").inner_text()
    dialog.locator("#sign-password").fill("wrong")
    dialog.locator("#confirm-sign").click()
    dialog.get_by_text("The password is not right").wait_for()
    dialog.locator("#sign-password").fill(PASSWORD)
    dialog.locator("#confirm-sign").click()
    reader.locator("[data-version='1']").wait_for()
    assert "Signed by Rosa Demo" in reader.locator("[data-version='1']").inner_text()

    # --- the document ---
    with reader.expect_download() as download:
        reader.get_by_role("link", name="Download PDF").click()
    path = download.value.path()
    text = subprocess.run(
        ["pdftotext", "-layout", path, "-"], capture_output=True, text=True, check=True
    ).stdout
    assert "SYN-T-0011" in text
    assert "Staging of a pulmonary nodule." in text
    assert text.count("Not for diagnostic use") >= text.count("\f")

    # --- results reach the destination ---
    files = until(
        lambda: _both_delivered(product),
        120,
        "SR and SEG at the destination",
    )
    report = pydicom.dcmread(files["Comprehensive3DSR"][0])
    assert (report.VerificationFlag, report.CompletionFlag) == ("VERIFIED", "COMPLETE")
    assert str(report.PatientID) == "SYN-T-0011"
    segmentation = pydicom.dcmread(files["Segmentation"][0])
    assert segmentation.SegmentSequence[0].SegmentNumber == 1

    # --- signed text only grows ---
    reader.get_by_text("Add an addendum").click()
    reader.fill("#addendum-text", "Discussed with the clinic.")
    reader.fill("#addendum-password", PASSWORD)
    reader.get_by_role("button", name="Sign addendum").click()
    reader.locator("[data-version='2']").wait_for()
    assert "Discussed with the clinic." in reader.locator("[data-version='2']").inner_text()

    # --- another site sees nothing; the trail has it all ---
    remote = open_as("remote")
    remote.goto("/?tab=all")
    assert remote.locator("tr[data-case]").count() == 0
    assert remote.request.get(f"/cases/{case}/").status == 404
    lead = open_as("lead")
    lead.goto(f"/audit/?case_id={case}")
    trail = lead.locator("main").inner_text()
    for action in ("view", "claim", "edit", "review", "sign", "download", "export", "addend"):
        assert re.search(rf"\b{action}\b", trail), action

    # --- no patient in any log ---
    logs = product.logs()
    assert logs
    for word in ("Thorax One", "SYN-T-0011", "SYNTHETIC^", "Head One", "SYN-H-0021"):
        assert word not in logs


def test_a_real_patient_by_upload_and_by_c_store(
    product: Product, open_as: Opener, real_data: Path
) -> None:
    """CT, MR and PET of a sarcoma patient with the delivered tumour contours: one case each,
    read and signed like any other."""
    patients = real_data / "sarcoma-ct-mr-pet"
    subprocess.run(
        [
            need("storescu"), "-aet", "STORESCU", "-aec", "RADFUSE", "+sd", "+r",
            "127.0.0.1", str(product.dicom_port), str(patients / "STS_005"),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    reader = open_as("radiologist")
    reader.goto("/receiving/")
    reader.locator("input[webkitdirectory]").set_input_files(patients / "STS_001")
    reader.get_by_text("Finished:").wait_for(timeout=180_000)
    assert "180 stored" in reader.locator("[data-upload-text]").inner_text()

    reader.goto("/?tab=all")
    for name in ("STS_001", "STS_005"):
        row = reader.locator("tr[data-case]", has_text=name)
        row.locator(".badge--ready").wait_for(timeout=ANALYSIS_SECONDS * 1000)
        assert row.count() == 1, "one case a patient"
        assert "CT MR PT" in row.inner_text()

    row = reader.locator("tr[data-case]", has_text="STS_001")
    case = row.get_attribute("data-case")
    row.get_by_role("button", name="Read", exact=True).click()
    reader.wait_for_url(f"**/cases/{case}/")
    until(lambda: hook(reader, "complete"), 120, "every slice")
    reader.locator("#viewer").get_by_text("PET (SUVbw): Same frame of reference").first.wait_for()
    reader.locator("#viewer").get_by_text("GTV_Mass_CT").first.wait_for()
    contour = reader.locator(".case-panel [data-finding]", has_text="Delivered contour")
    assert "365" in contour.inner_text(), "the delivered volume in ml"
    findings = reader.locator(".case-panel [data-finding]")
    for number in range(findings.count()):
        findings.nth(number).get_by_role("button", name="Accept", exact=True).click()
        reader.locator(f".case-panel [data-finding] >> nth={number}").and_(
            reader.locator("[data-state=accepted]")
        ).wait_for()
    before = len(product.delivered().get("Comprehensive3DSR", []))
    reader.click("#open-sign")
    reader.locator("#sign-password").fill(PASSWORD)
    reader.locator("#confirm-sign").click()
    reader.locator("[data-version='1']").wait_for()
    reports = until(
        lambda: product.delivered().get("Comprehensive3DSR", [])[before:],
        120,
        "the SR at the destination",
    )
    # File names are UIDs, so the new one may stand anywhere in the list.
    assert reports
    everything = product.delivered()["Comprehensive3DSR"]
    assert "STS_001" in {str(pydicom.dcmread(path).PatientID) for path in everything}


def _both_delivered(product: Product) -> dict[str, list[Path]] | None:
    files = product.delivered()
    return files if {"Segmentation", "Comprehensive3DSR"} <= files.keys() else None


def _alive(product: Product) -> bool:
    try:
        with urllib.request.urlopen(f"{product.url}/health/", timeout=2):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
