"""Names in every character set of the sample files, from the wire to the list, the case page and
the exported objects.

Names are written down here, from the samples' own description and from the scripts they show, not
taken from a decoder. Three samples have no pixel data and are refused as they are: the fixture adds
a picture of zeros. Two (``chrSQEncoding*``) have no identity at all, no SOP class either: they stay
in quarantine, and their name lies in a sequence.
"""

from __future__ import annotations

import io
from html import escape
from pathlib import Path

import pydicom
import pytest
from django.test import Client

from tests.exporting.house import Build
from tests.exporting.test_objects import written
from tests.factories import SiteFactory, UserFactory
from workstation.accounts.models import Site
from workstation.receiving.models import Patient, Study
from workstation.receiving.outcomes import Outcome, Result
from workstation.receiving.services import store_instance
from workstation.worklist.models import Case
from workstation.worklist.services import join_study_to_case

pytestmark = pytest.mark.django_db

ARABIC, GREEK, HEBREW = "قباني^لنزار", "Διονυσιος", "שרון^דבורה"
FRENCH, GERMAN, RUSSIAN = "Buc^Jérôme", "Äneas^Rüdiger", "Люкceмбypг"
JAPANESE = "Yamada^Tarou=山田^太郎=やまだ^たろう"
HALF_WIDTH = "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"
KOREAN = "Hong^Gildong=洪^吉洞=홍^길동"
TRADITIONAL, SIMPLIFIED = "Wang^XiaoDong=王^小東", "Wang^XiaoDong=王^小东"
NAMES = {
    "charsets_orthanc/DavidClunie/SCSARAB": ARABIC,
    "charsets_orthanc/DavidClunie/SCSFREN": FRENCH,
    "charsets_orthanc/DavidClunie/SCSGERM": GERMAN,
    "charsets_orthanc/DavidClunie/SCSGREEK": GREEK,
    "charsets_orthanc/DavidClunie/SCSH31": JAPANESE,
    "charsets_orthanc/DavidClunie/SCSH32": HALF_WIDTH,
    "charsets_orthanc/DavidClunie/SCSHBRW": HEBREW,
    "charsets_orthanc/DavidClunie/SCSI2": KOREAN,
    "charsets_orthanc/DavidClunie/SCSRUSS": RUSSIAN,
    "charsets_orthanc/DavidClunie/SCSX1": TRADITIONAL,
    "charsets_orthanc/DavidClunie/SCSX2": SIMPLIFIED,
    "charsets_orthanc/ISO_IR13.dcm": "Anonymized49",
    "charsets_orthanc/Lena-arabic.dcm": "Test-ص",
    "charsets_orthanc/Lena-ascii.dcm": "Test-",
    "charsets_orthanc/Lena-cyrillic.dcm": "Test-Дћ",
    "charsets_orthanc/Lena-greek.dcm": "Test-Θ",
    "charsets_orthanc/Lena-hebrew.dcm": "Test-ד",
    "charsets_orthanc/Lena-latin1.dcm": "Test-éüäöò",
    "charsets_orthanc/Lena-latin2.dcm": "Test-éüäö",
    "charsets_orthanc/Lena-latin3.dcm": "Test-éüäöòĝİ",
    "charsets_orthanc/Lena-latin4.dcm": "Test-éüäöķ",
    "charsets_orthanc/Lena-latin5.dcm": "Test-éüäöòİ",
    "charsets_orthanc/Lena-shift-jis.dcm": "Test-ДΘﾈ",
    "charsets_orthanc/Lena-tis-620.dcm": "Test-๛",
    "charsets_orthanc/Lena-utf8.dcm": "Test-éüäöòДΘĝדصķћ๛ﾈİ",
    "charsets_pydicom/chrArab.dcm": ARABIC,
    "charsets_pydicom/chrFren.dcm": FRENCH,
    "charsets_pydicom/chrFrenMulti.dcm": FRENCH,
    "charsets_pydicom/chrGerm.dcm": GERMAN,
    "charsets_pydicom/chrGreek.dcm": GREEK,
    "charsets_pydicom/chrH31.dcm": JAPANESE,
    "charsets_pydicom/chrH32.dcm": HALF_WIDTH,
    "charsets_pydicom/chrHbrw.dcm": HEBREW,
    "charsets_pydicom/chrI2.dcm": KOREAN,
    "charsets_pydicom/chrJapMulti.dcm": "やまだ^たろう",
    "charsets_pydicom/chrJapMultiExplicitIR6.dcm": "やまだ^たろう",
    "charsets_pydicom/chrKoreanMulti.dcm": "김희중",
    "charsets_pydicom/chrRuss.dcm": RUSSIAN,
    "charsets_pydicom/chrX1.dcm": TRADITIONAL,
    "charsets_pydicom/chrX2.dcm": SIMPLIFIED,
}
WITHOUT_IDENTITY = ["charsets_pydicom/chrSQEncoding.dcm", "charsets_pydicom/chrSQEncoding1.dcm"]
EXPORTED = [
    f"charsets_pydicom/chr{name}.dcm"
    for name in ("Arab", "Fren", "Greek", "H31", "H32", "Hbrw", "I2", "JapMulti",
                 "JapMultiExplicitIR6", "KoreanMulti", "Russ", "X1", "X2")
] + [
    f"charsets_orthanc/Lena-{name}.dcm"
    for name in ("ascii", "latin2", "latin3", "latin4", "latin5", "shift-jis", "tis-620", "utf8")
]  # fmt: skip
"""One of each character set: the whole way to an export takes seconds."""


def folder(real_data: Path) -> Path:
    return real_data / "dicom-variety"


def send(site: Site, path: Path) -> Outcome:
    """As it is, or with a picture of zeros where the sample has none."""
    outcome = store_instance(site, [path.read_bytes()], source="test")
    if outcome.code not in ("no_pixel_data", "truncated"):
        return outcome
    sample = pydicom.dcmread(path)
    sample.Rows = sample.Columns = 4
    sample.BitsAllocated, sample.NumberOfFrames, sample.SamplesPerPixel = 16, 1, 1
    sample.add_new("PixelData", "OW", bytes(32))
    buffer = io.BytesIO()
    sample.save_as(buffer)
    return store_instance(site, [buffer.getvalue()], source="test")


def shown(name: str) -> list[str]:
    """How screens write a name: family, given; then the other scripts."""
    first, *others = name.split("=")
    return [first.replace("^", ", "), *(group.replace("^", " ") for group in others)]


def test_no_sample_is_forgotten(real_data: Path) -> None:
    there = {
        str(path.relative_to(folder(real_data)))
        for path in folder(real_data).glob("charsets_*/**/*")
        if path.is_file() and (path.suffix == ".dcm" or path.name.startswith("SCS"))
    }
    assert there == NAMES.keys() | set(WITHOUT_IDENTITY)


@pytest.mark.parametrize("sample", sorted(NAMES))
def test_the_name_in_list_archive_and_case(
    real_data: Path, sample: str, client: Client
) -> None:
    name, site = NAMES[sample], SiteFactory()
    outcome = send(site, folder(real_data) / sample)
    assert outcome.result is Result.STORED, outcome.reason
    patient = Patient.objects.get()
    assert patient.name == name
    case = join_study_to_case(Study.objects.get())
    client.force_login(UserFactory(sites=[site]))
    for url in (
        "/?tab=all", f"/cases/{case.pk}/", "/receiving/archive/",
        f"/receiving/archive/studies/{outcome.study_id}/",
    ):  # fmt: skip
        page = client.get(url).content.decode()
        for part in shown(name):
            assert escape(part) in page, url
        assert "\x1b" not in page and "�" not in page, url
    view = client.get(f"/api/cases/{case.pk}/view/").json()
    assert view["patient"]["name"] == shown(name)[0]
    assert Case.objects.count() == 1
    # Any part of the name finds it, in whichever script, also without its accents.
    for part in name.replace("=", "^").split("^"):
        found = client.get("/receiving/archive/", {"patient": part}).content.decode()
        assert escape(shown(name)[0]) in found


@pytest.mark.parametrize("sample", WITHOUT_IDENTITY)
def test_what_names_nobody_waits_in_quarantine(real_data: Path, sample: str) -> None:
    outcome = send(SiteFactory(), folder(real_data) / sample)
    assert outcome.result is Result.QUARANTINED
    assert not Patient.objects.exists()


@pytest.mark.parametrize("sample", EXPORTED)
def test_the_name_in_exported_objects(
    real_data: Path, sample: str, make_case: Build
) -> None:
    """The sample's own bytes of character set and name, in images that can be read and signed."""
    name = NAMES[sample]
    header = pydicom.dcmread(folder(real_data) / sample, stop_before_pixels=True)
    house = make_case(
        charset=header.SpecificCharacterSet,
        name_bytes=header.get_item("PatientName").value,
        with_pet=False,
    )
    assert Patient.objects.get().name == name
    for key, path in written(house).items():
        exported = pydicom.dcmread(path)
        assert exported.SpecificCharacterSet == "ISO_IR 192", key
        assert str(exported.PatientName) == name, key
        assert name.encode() in path.read_bytes(), key
