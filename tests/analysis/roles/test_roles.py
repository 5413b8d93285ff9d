"""Roles of series: the table, the data behind it, and headers as the world sends them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from analysis.contracts import Role
from analysis.roles import ROLES, facts_of, role_of
from analysis.roles.catalogue import CATALOGUE
from analysis.roles.facts import KEYWORDS, ODD_HEADER, VIRTUAL
from analysis.roles.words import LANGUAGES, fold
from tests.analysis.roles.cases import AGENT, CASES, SPIN_T1

NAMES = [f"{role}-{number}" for number, (_, role) in enumerate(CASES)]


@pytest.mark.parametrize(("facts", "role"), CASES, ids=NAMES)
def test_role(facts: dict[str, Any], role: str) -> None:
    decision = role_of(facts)
    assert decision.code == role, decision
    assert decision.reason.endswith(".")
    assert len(decision.reason) <= 300, decision.reason


def test_the_table_is_long_enough_and_knows_each_language() -> None:
    assert len(CASES) > 120
    told = " ".join(role_of(facts).reason for facts, _ in CASES)
    assert {name for name in LANGUAGES.values() if name and name in told} == {
        "English", "German", "French", "Spanish", "Chinese", "Japanese"
    }  # fmt: skip


def test_every_rule_decides_a_series_of_the_table() -> None:
    deciding = {role_of(facts).rule for facts, _ in CASES}
    assert {rule.id for rule in CATALOGUE.rules} - deciding == set()


def test_every_role_is_reached() -> None:
    assert {role for _, role in CASES} == set(ROLES)


def test_roles_map_onto_the_contract() -> None:
    assert {role.coarse for role in ROLES.values()} <= set(get_args(Role))
    assert all(role.fusion in (0, 1, 2) and role.label and role.layer for role in ROLES.values())
    assert all(len(code) <= 32 for code in ROLES)
    never = {code for code, role in ROLES.items() if role.fusion == 0}
    assert {"LOCALISER", "DERIVED", "SECONDARY_CAPTURE", "PET_NAC", "CTP"} <= never
    assert ROLES["CT_AC"].fusion > ROLES["CT_NATIVE"].fusion


# --- reasons -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "by", "words"),
    [
        ({"Modality": "PT", "CorrectedImage": ["ATTN"]}, "attributes",
         ["CorrectedImage lists ATTN"]),
        ({"Modality": "CT", "SeriesDescription": "Kopf nativ"}, "text",
         ["SeriesDescription says 'nativ' (German: without contrast)"]),
        ({"Modality": "CT", "SeriesDescription": "胸部平扫"}, "text",
         ["'平扫' (Chinese: without contrast)"]),
        ({"Modality": "MR", "SeriesDescription": "tra", **SPIN_T1}, "attributes",
         ["RepetitionTime 560 ms", "EchoTime 11 ms"]),
        ({"Modality": "CT", "SeriesDescription": "arteriell", **AGENT}, "text",
         ["names an agent, and SeriesDescription says 'arteriell' (German: arterial phase)"]),
        ({"Modality": "CT", "SeriesDescription": "Serie 4"}, "none", ["no clear word"]),
    ],
)  # fmt: skip
def test_the_reason_names_what_decided(facts: dict[str, Any], by: str, words: list[str]) -> None:
    decision = role_of(facts)
    assert decision.by == by
    for text in words:
        assert text.casefold() in decision.reason.casefold()


@pytest.mark.parametrize(
    ("facts", "code", "claimed", "told"),
    [
        ({"Modality": "CT", "SeriesDescription": "nativ", **AGENT}, "CT_CONTRAST", "CT_NATIVE",
         "'nativ'"),
        ({"Modality": "PT", "SeriesDescription": "ctac.img", "CorrectedImage": "DECY"}, "PET_NAC",
         "PET_AC", "'ctac'"),
        ({"Modality": "MR", "SeriesDescription": "t2_tse", **SPIN_T1}, "MR_T1", "MR_T2", "'t2"),
    ],
)  # fmt: skip
def test_attributes_beat_text_and_say_so(
    facts: dict[str, Any], code: str, claimed: str, told: str
) -> None:
    decision = role_of(facts)
    assert (decision.code, decision.by, decision.conflict) == (code, "attributes", claimed)
    assert told in decision.reason
    assert "attributes count first" in decision.reason


def test_no_reason_quotes_the_header() -> None:
    secret = "ZZQUX"
    for facts, _ in CASES:
        marked = {
            k: f"{v} {secret}" if k in ("SeriesDescription", "ProtocolName", "StudyDescription")
            else v for k, v in facts.items()
        }  # fmt: skip
        assert secret not in role_of(marked).reason
    assert secret not in role_of({"Modality": "CT", "ContrastBolusAgent": secret}).reason


@pytest.mark.parametrize(
    ("facts", "label", "details"),
    [
        ({"Modality": "MR", "DiffusionBValue": [0, 1000, 50]}, "DWI (b 0, 50, 1000)",
         {"b_values": [0, 50, 1000]}),
        ({"Modality": "PT", "CorrectedImage": "ATTN", "RadiopharmaceuticalCode": "C-B1031"},
         "PET, attenuation corrected (F-18 FDG)", {"tracer": "F-18 FDG"}),
        ({"Modality": "PT", "CorrectedImage": "ATTN", "Radiopharmaceutical": "Ga68 PSMA-11"},
         "PET, attenuation corrected (PSMA)", {"tracer": "PSMA"}),
        ({"Modality": "PT", "CorrectedImage": "DECY", "StudyDescription": "PET F-18 NaF"},
         "PET, not attenuation corrected (F-18 sodium fluoride)",
         {"tracer": "F-18 sodium fluoride"}),
        ({"Modality": "CT", "ContrastBolusAgentPhase": "ARTERIAL"}, "CT, arterial phase",
         {"phase": "ARTERIAL"}),
    ],
)  # fmt: skip
def test_label_and_details(facts: dict[str, Any], label: str, details: dict[str, Any]) -> None:
    decision = role_of(facts)
    assert (decision.label, decision.details) == (label, details)


# --- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "folded"),
    [("Übersicht", "ubersicht"), ("ＣＴＡ", "cta"), ("TÓRAX", "torax"), ("Gefäß", "gefass"),
     ("レポート", "レポート"), ("造影後", "造影後")],
)  # fmt: skip
def test_folding(text: str, folded: str) -> None:
    assert fold(text) == folded


@pytest.mark.parametrize(
    ("group", "text", "found"),
    [
        ("native", "HWS nativ", True), ("native", "native 3D", True),
        ("native", "alternativ", False), ("native", "C-Spine", False),
        ("native", "pre-op planning", False), ("native", "PRE", True),
        ("contrast", "ohne Kontrast", False), ("contrast", "mit Kontrast", True),
        ("contrast", "phase contrast aorta", False), ("contrast", "POST-OP", False),
        ("t2", "AX T2*", False), ("t2", "ART2", False),
        ("arterial", "arterial spin labeling", False),
        ("corrected", "non corrigé", False), ("delayed", "延迟增强", False),
        ("diffusion", "b0 map", False), ("diffusion", "B31s", False), ("diffusion", "b 800", True),
        ("flair", "dark_fluid", True), ("localiser", "HeadScout", True),
    ],
)  # fmt: skip
def test_words_stand_whole(group: str, text: str, found: bool) -> None:
    assert bool(CATALOGUE.words.find(group, fold(text))) is found


def test_every_word_is_found_by_its_own_group_or_by_the_one_that_hides_it() -> None:
    """No word of the data can be dead: alone, it is a match of its group."""
    for group in CATALOGUE.words.groups.values():
        for language, word in group.words:
            text = fold(word.replace("*", ""))
            hidden = any(CATALOGUE.words.find(other, text) for other in group.not_in)
            assert CATALOGUE.words.find(group.name, text) or hidden, (group.name, language, word)


def test_every_group_is_asked_for() -> None:
    used = {name for rule in CATALOGUE.rules for name in (*rule.words, *rule.without)}
    used |= {name for group in CATALOGUE.words.groups.values() for name in group.not_in}
    assert set(CATALOGUE.words.groups) == used


# --- headers -------------------------------------------------------------------------------------


def header(**elements: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def test_one_scout_among_slices_is_no_localiser() -> None:
    slices = [header(Modality="CT", ImageType=["ORIGINAL", "PRIMARY", "AXIAL"])] * 2
    scout = header(Modality="CT", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert role_of(facts_of([scout])).code == "LOCALISER"
    assert role_of(facts_of([scout, *slices])).code == "CT"


def test_b_values_are_collected_over_instances_and_vendors() -> None:
    siemens, philips = header(Modality="MR"), header(Modality="MR")
    siemens.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "IS", "1000")
    philips.private_block(0x2001, "Philips Imaging DD 001", create=True).add_new(0x03, "FL", 500.0)
    ge = header(Modality="MR", ScanningSequence=["EP", "RM"])
    ge.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(
        0x39, "IS", [1000000800, 8, 0, 0]
    )
    standard = header(Modality="MR", DiffusionBValue=0.0)
    decision = role_of(facts_of([standard, siemens, philips, ge]))
    assert decision.code == "MR_DWI"
    assert decision.details == {"b_values": [0, 500, 800, 1000]}


def test_enhanced_objects_answer_by_their_functional_groups() -> None:
    ds = header(Modality="MR", SOPClassUID="1.2.840.10008.5.1.4.1.1.4.1")
    shared = Dataset()
    shared.MRTimingAndRelatedParametersSequence = [header(RepetitionTime=5000.0)]
    ds.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for b in (0.0, 1000.0):
        frame = Dataset()
        frame.MRDiffusionSequence = [header(DiffusionBValue=b)]
        frame.MRImageFrameTypeSequence = [header(FrameType=["ORIGINAL", "PRIMARY", "DIFFUSION"])]
        frame.MREchoSequence = [header(EffectiveEchoTime=80.0)]
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = frames
    facts = facts_of([ds])
    assert (facts["RepetitionTime"], facts["EchoTime"]) == (("5000.0",), ("80.0",))
    decision = role_of(facts)
    assert decision.code == "MR_DWI"
    assert decision.details["b_values"] == [0, 1000]


@given(
    st.dictionaries(
        st.sampled_from([*KEYWORDS, *VIRTUAL, "DiffusionBValue"]),
        st.one_of(
            st.text(), st.lists(st.text(), max_size=3), st.none(), st.floats(), st.integers()
        ),
    ),
    st.sampled_from(["CT", "MR", "PT", "US", ""]),
)
@settings(max_examples=300, deadline=None)
def test_never_raises_for_what_a_header_says(facts: dict[str, Any], modality: str) -> None:
    decision = role_of(facts | {"Modality": modality})
    assert decision.code in ROLES
    assert decision.reason


@given(st.binary(max_size=40), st.sampled_from(KEYWORDS))
@settings(max_examples=200, deadline=None)
def test_odd_bytes_in_an_element_say_nothing(value: bytes, keyword: str) -> None:
    from pydicom.datadict import dictionary_VR, tag_for_keyword
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    tag = Tag(tag_for_keyword(keyword) or 0)
    ds = header(Modality="MR")
    ds[tag] = RawDataElement(tag, dictionary_VR(tag), len(value), value, 0, False, True)
    assert role_of(facts_of([ds])).code in ROLES


def test_the_package_is_light() -> None:
    """The listener and the web import it: nothing of the science comes with it."""
    code = (
        "import sys, analysis.roles\n"
        "heavy = {'torch', 'monai', 'SimpleITK', 'scipy', 'pydantic', 'analysis.contracts'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- what the fusion networks know ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("description", "tags", "role"),
    [
        ("AX T1 POST", {}, "T1c"),
        ("AX T1", {}, "T1"),
        ("T1 AX PRE", {"ContrastBolusAgent": "Gadovist"}, "T1"),
        ("t1_mprage_tra_nativ", {}, "T1"),
        ("t1_mprage_sag_KM", {}, "T1c"),
        ("SAG T1", {"ContrastBolusAgent": "Dotarem"}, "T1c"),
        ("AX T1 +C", {}, "T1c"),
        ("AX T1 without contrast", {}, "T1"),
        ("AX FLAIR", {}, "FLAIR"),
        ("t2_tirm_tra_dark-fluid", {}, "FLAIR"),
        ("T2 FLAIR 3D", {}, "FLAIR"),
        ("AX T2", {}, "T2"),
        ("t2_tse_tra 5mm", {}, "T2"),
        ("AX T2* GRE", {}, "MR"),
        ("ep2d_diff_3scan_trace_ADC", {}, "MR"),
        ("SWI_Images", {}, "MR"),
        ("AAHead_Scout", {}, "OTHER"),
        ("IBSI_1_STS_001_MR_T1_image", {}, "T1"),
        ("", {"RepetitionTime": 9000, "EchoTime": 120, "InversionTime": 2500}, "FLAIR"),
        ("", {"RepetitionTime": 500, "EchoTime": 12}, "T1"),
        ("", {"RepetitionTime": 500, "EchoTime": 12, "ContrastBolusAgent": "Gd"}, "T1c"),
        ("", {"RepetitionTime": 4500, "EchoTime": 95}, "T2"),
        ("", {}, "MR"),
    ],
)
def test_coarse_mr_roles(description: str, tags: dict[str, object], role: str) -> None:
    ds = Dataset()
    ds.Modality, ds.SeriesDescription = "MR", description
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    assert ROLES[role_of(facts_of([ds])).code].coarse == role


@pytest.mark.parametrize(
    ("modality", "role"), [("CT", "CT"), ("PT", "PET"), ("US", "OTHER"), ("NM", "OTHER")]
)
def test_coarse_other_roles(modality: str, role: str) -> None:
    ds = Dataset()
    ds.Modality = modality
    assert ROLES[role_of(facts_of([ds])).code].coarse == role


# --- real images ---------------------------------------------------------------------------------

REAL: list[tuple[str, str, str]] = [
    ("sarcoma-ct-mr-pet/STS_001/CT/image", "", "CT"),
    ("sarcoma-ct-mr-pet/STS_001/MR_T1/image", "", "MR_T1"),
    ("sarcoma-ct-mr-pet/STS_001/PET/image", "", "PET_AC"),
    ("sarcoma-ct-mr-pet/STS_001/CT/mask", "", "STRUCTURE_SET"),
    ("sarcoma-ct-mr-pet/STS_005/CT/image", "", "CT"),
    ("sarcoma-ct-mr-pet/STS_005/MR_T1/image", "", "MR_T1"),
    ("sarcoma-ct-mr-pet/STS_005/PET/image", "", "PET_AC"),
    ("neck-ct-lossy/dicom", "", "CT_CONTRAST"),
    ("pet-suv-truth", "*.dcm", "PET_AC"),
    ("fruit-ct-mr/1005", "*/AAHead_Scout/*", "LOCALISER"),
    ("fruit-ct-mr/1005", "*_MR,SR/FUJI*/*", "REPORT"),
    ("fruit-ct-mr/1005", "*/SWI_Images/*", "MR_SWI"),
    ("fruit-ct-mr/1005", "*/t1_mprage_tra_nativ/*", "MR_T1"),
    ("fruit-ct-mr/1005", "*/t2_tse_tra 5mm/*", "MR_T2"),
    ("fruit-ct-mr/1005", "*/Kopf nativ  2.0  H70h/*", "CT_NATIVE"),
    ("fruit-ct-mr/1005", "*/Kopf nativ  5.0  H42s/*", "CT_NATIVE"),
    ("fruit-ct-mr/1005", "*/Topogramm*/*", "LOCALISER"),
    ("fruit-ct-mr/1008", "*/AAHead_Scout/*", "LOCALISER"),
    ("fruit-ct-mr/1008", "*/DWI*_ADC/*", "MR_ADC"),
    ("fruit-ct-mr/1008", "*/DWI*_TRACEW/*", "MR_DWI"),
    ("fruit-ct-mr/1008", "*/SWI_Images/*", "MR_SWI"),
    ("fruit-ct-mr/1008", "*/t2_ciss3d*/*", "MR_T2"),
    ("fruit-ct-mr/1008", "*/t2_tse_tra 5mm/*", "MR_T2"),
    ("fruit-ct-mr/1008", "*/Kopf nativ  5.0  H42s/*", "CT_NATIVE"),
    ("fruit-ct-mr/1008", "*/Topogramm*/*", "LOCALISER"),
    ("dicom-variety/enhanced_ct", "*.dcm", "DERIVED"),
    ("dicom-variety/enhanced_mr/Philips", "*.dcm", "MR_OTHER"),
    ("dicom-variety/enhanced_mr/Siemens/XA10", "*.dcm", "MR_OTHER"),
    ("dicom-variety/seg_sr_paramap_dcmqi/paramaps/701-ADCb500", "*.dcm", "MR_ADC"),
    ("dicom-variety/seg_sr_paramap_dcmqi/segmentations", "liver.dcm", "SEGMENTATION"),
    ("dicom-variety/seg_sr_paramap_dcmqi/sr-example", "sr.dcm", "REPORT"),
    ("dicom-variety/seg_sr_paramap_dcmqi/sr-example", "rwvm.dcm", "OTHER"),
]


@pytest.mark.parametrize(("folder", "pattern", "role"), REAL)
def test_real_series(real_data: Path, folder: str, pattern: str, role: str) -> None:
    files = sorted(p for p in (real_data / folder).glob(pattern or "*") if p.is_file())
    assert files
    sample = [files[0], files[len(files) // 2], files[-1]]
    decision = role_of(facts_of(dcmread(p, stop_before_pixels=True) for p in sample))
    assert decision.code == role, decision


def test_a_low_dose_ct_beside_pet_is_one_for_attenuation_correction(real_data: Path) -> None:
    for patient in ("STS_001", "STS_005"):
        path = min((real_data / "sarcoma-ct-mr-pet" / patient / "CT" / "image").iterdir())
        headers = [dcmread(path, stop_before_pixels=True)]
        decision = role_of(facts_of(headers, study_modalities=["CT", "MR", "PT"]))
        assert decision.code == "CT_AC"
        assert "Exposure is 15 mAs" in decision.reason


NOT_CORRECTED = (
    "034_021", "007_016", "038_015", "039_019", "PET-020_002", "00033_021", "00033_023",
    "0002_014", "0009_012", "AMC-012_029", "062_005", "062_028",
)  # fmt: skip
NO_VOLUME = {
    "CMB-CRC-MSB-08170_023": "SECONDARY_CAPTURE", "CMB-MML-MSB-06305_027": "SECONDARY_CAPTURE",
    "data_7255997752_017": "SECONDARY_CAPTURE", "CMB-LCA-MSB-01649_021": "DERIVED",
    "TCGA-17-Z051_019": "DERIVED", "TCGA-VP-A879_006": "DERIVED", "TCGA-DE-A4MA_014": "DERIVED",
}  # fmt: skip


def test_pet_of_three_vendors(real_data: Path) -> None:
    files = sorted((real_data / "pet-vendors").rglob("*.dcm"))
    assert len(files) > 60
    for path in files:
        expected = next((r for part, r in NO_VOLUME.items() if part in path.name), "PET_AC")
        if path.stem.endswith(NOT_CORRECTED):
            expected = "PET_NAC"
        decision = role_of(facts_of([dcmread(path, stop_before_pixels=True)]))
        assert decision.code == expected, (path.name, decision)


def test_real_tracers(real_data: Path) -> None:
    folder = real_data / "pet-vendors"
    for pattern, tracer in (
        ("acrin_flt*062_005*", "F-18, tracer not named"),
        ("naf*0002_011*", "F-18 sodium fluoride"),
        ("covid*A056396*", "F-18 FDG"),
    ):
        (path,) = folder.rglob(pattern)
        decision = role_of(facts_of([dcmread(path, stop_before_pixels=True)]))
        assert decision.details.get("tracer") == tracer, (path.name, decision)


def test_malformed_headers_have_a_role(real_data: Path) -> None:
    for path in sorted((real_data / "dicom-variety" / "malformed").iterdir()):
        try:
            ds = dcmread(path, stop_before_pixels=True, force=True)
        except (*ODD_HEADER, InvalidDicomError):
            continue  # what pydicom cannot open never reaches the rules
        assert role_of(facts_of([ds])).code in ROLES


