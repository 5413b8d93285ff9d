"""A weight or dose that a reader enters: who may, what is refused, what it does, what is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse

from analysis.entries import ENTRY_LIMITS, EnteredName
from tests.factories import (
    ClaimFactory,
    RunNoticeFactory,
    SeriesFactory,
    SiteFactory,
    StudyFactory,
    UserFactory,
)
from workstation.accounts.models import AuditRecord, User
from workstation.analyzing.models import PetEntry, PetQuantity, Run, Step
from workstation.analyzing.pet_inputs import (
    EntryRefused,
    enter_value,
    entries_in_force,
    pet_values,
    withdraw_value,
)
from workstation.analyzing.requests import inputs_digest, series_inputs
from workstation.receiving.models import Series
from workstation.worklist.models import Case, CaseState

DoStep = Callable[[Run, str], Step]
WEIGHT: dict[str, Any] = {"quantity": "weight_kg", "value": "70", "reason": "patient's file"}


@pytest.fixture
def reader(case: Case) -> User:
    """Holds the case."""
    case.state = CaseState.READING
    case.save()
    user = UserFactory(sites=[case.site], first_name="Ada", last_name="Reader")
    ClaimFactory(case=case, user=user)
    return user


@pytest.fixture
def pet(case: Case) -> Series:
    return Series.objects.get(study__cases=case, modality="PT")


def test_names_and_limits_are_those_of_the_analysis() -> None:
    assert set(PetQuantity.values) == set(get_args(EnteredName))
    assert set(ENTRY_LIMITS) == set(PetQuantity.values) - {"sex"}


def test_the_request_carries_what_was_entered(case: Case, reader: User, pet: Series) -> None:
    before = inputs_digest(case)
    enter_value(case, pet, reader, **WEIGHT)
    enter_value(case, pet, reader, quantity="sex", value="f", reason="patient's file")
    for series in series_inputs(case):
        found = {entry.name: (entry.value, entry.by) for entry in series.entered}
        if series.modality == "PT":
            assert found == {
                "weight_kg": (70.0, reader.display_name), "sex": ("F", reader.display_name),
            }  # fmt: skip
        else:
            assert found == {}
    assert inputs_digest(case) != before


def test_the_latest_counts_and_nothing_is_overwritten(
    case: Case, reader: User, pet: Series
) -> None:
    before = inputs_digest(case)
    enter_value(case, pet, reader, **WEIGHT)
    second = enter_value(case, pet, reader, **(WEIGHT | {"value": "71,5"}))
    assert [e.value for e in entries_in_force(case)] == [71.5]
    withdraw_value(second, reader)
    assert entries_in_force(case) == []
    assert PetEntry.objects.count() == 3
    assert inputs_digest(case) == before
    with pytest.raises(EntryRefused, match="nothing to take back"):
        withdraw_value(second, reader)


def test_every_entry_is_audited_without_its_words(case: Case, reader: User, pet: Series) -> None:
    entry = enter_value(case, pet, reader, **WEIGHT, address="192.0.2.7")
    withdraw_value(entry, reader)
    rows = AuditRecord.objects.filter(action="enter_suv_input").order_by("pk")
    assert [row.detail["withdrawn"] for row in rows] == [False, True]
    assert rows[0].user == reader and rows[0].case_id == case.pk
    assert rows[0].remote_address == "192.0.2.7"
    assert set(rows[0].detail) == {"series", "quantity", "withdrawn"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"value": "70000"}, "not plausible"),
        ({"value": "0"}, "not plausible"),
        ({"value": "nan"}, "not plausible"),
        ({"value": "seventy"}, "enter a number in kg"),
        ({"quantity": "dose_mbq", "value": "370000000"}, "not plausible"),
        ({"quantity": "height_m", "value": "175"}, "not plausible"),
        ({"quantity": "sex", "value": "O"}, "M and F"),
        ({"quantity": "blood", "value": "1"}, "Choose what"),
        ({"reason": "  "}, "where the value comes from"),
    ],
)
def test_what_cannot_be_right_is_refused(
    change: dict[str, str], why: str, case: Case, reader: User, pet: Series
) -> None:
    with pytest.raises(EntryRefused, match=why):
        enter_value(case, pet, reader, **(WEIGHT | change))
    assert not PetEntry.objects.exists()


def test_only_who_holds_an_open_case_may(case: Case, reader: User, pet: Series) -> None:
    other = UserFactory(sites=[case.site])
    with pytest.raises(EntryRefused, match="Claim it first"):
        enter_value(case, pet, other, **WEIGHT)
    entry = enter_value(case, pet, reader, **WEIGHT)
    with pytest.raises(EntryRefused, match="Claim it first"):
        withdraw_value(entry, other)
    Case.objects.filter(pk=case.pk).update(state=CaseState.SIGNED)
    with pytest.raises(EntryRefused, match="signed"):
        enter_value(case, pet, reader, **WEIGHT)
    with pytest.raises(EntryRefused, match="signed"):
        withdraw_value(entry, reader)


def test_only_a_pet_of_the_case(case: Case, reader: User) -> None:
    ct = Series.objects.get(study__cases=case, modality="CT")
    with pytest.raises(EntryRefused, match="a PET of this case"):
        enter_value(case, ct, reader, **WEIGHT)


@pytest.mark.parametrize(
    "row",
    [
        {"quantity": "weight_kg"},
        {"quantity": "weight_kg", "value": -1.0},
        {"quantity": "sex", "sex": "X"},
        {"quantity": "sex", "value": 70.0},
        {"quantity": "weight_kg", "value": 70.0, "withdrawn": True},
    ],
)
def test_the_database_keeps_no_senseless_row(
    row: dict[str, Any], case: Case, reader: User, pet: Series
) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        PetEntry.objects.create(case=case, series=pet, by=reader, reason="x", **row)


def test_the_panel_shows_refusal_form_and_who_entered(
    case: Case, reader: User, pet: Series, run: Run, client: Client
) -> None:
    RunNoticeFactory(
        run=run, series=pet, code="pet_no_weight", severity="refused", message="No usable weight."
    )
    client.force_login(reader)
    url = reverse("analyzing:pet-values", args=[case.pk])
    page = client.get(url).content.decode()
    assert "No usable weight." in page
    assert "Enter what the header lacks" in page
    enter = reverse("analyzing:pet-enter", args=[case.pk, pet.pk])
    assert "not plausible" in client.post(enter, WEIGHT | {"value": "7000"}).content.decode()
    page = client.post(enter, WEIGHT).content.decode()
    assert "70 kg" in page and "entered by Ada Reader" in page
    assert "the analysis runs again" in page
    entry = PetEntry.objects.get()
    page = client.post(reverse("analyzing:pet-withdraw", args=[entry.pk])).content.decode()
    assert "entered by" not in page
    assert "the analysis runs again" not in page, "the run saw these very values"
    # Somebody else of the site sees how it stands, but gets no form.
    client.force_login(UserFactory(sites=[case.site]))
    page = client.get(url).content.decode()
    assert "No usable weight." in page and "Enter what the header lacks" not in page


def test_the_panel_speaks_of_the_run_on_screen(
    case: Case, reader: User, pet: Series, run: Run, do_step: DoStep, client: Client
) -> None:
    """Not of one over a study that has left the case since: that is another patient's."""
    do_step(run, "assemble")
    notice = {"series": pet, "code": "pet_no_weight", "severity": "refused"}
    RunNoticeFactory(run=run, message="Of strangers.", **notice)
    stranger = StudyFactory(patient=case.patient)
    run.layers.filter(series__modality="CT").update(series=SeriesFactory(study=stranger))
    Step.objects.filter(run=run).update(state="done", token="")
    client.force_login(reader)
    url = reverse("analyzing:pet-values", args=[case.pk])
    assert "Of strangers." not in client.get(url).content.decode()


def test_another_site_sees_nothing(case: Case, reader: User, pet: Series, client: Client) -> None:
    entry = enter_value(case, pet, reader, **WEIGHT)
    client.force_login(UserFactory(sites=[SiteFactory()]))
    assert client.get(reverse("analyzing:pet-values", args=[case.pk])).status_code == 404
    assert client.post(reverse("analyzing:pet-enter", args=[case.pk, pet.pk])).status_code == 404
    assert client.post(reverse("analyzing:pet-withdraw", args=[entry.pk])).status_code == 404


def test_what_the_analysis_found_is_shown(
    case: Case, pet: Series, run: Run, do_step: DoStep
) -> None:
    do_step(run, "assemble")
    layer = run.layers.get(series=pet)
    layer.record["source"] = {
        "suv": {
            "inputs": [
                {"name": "weight_kg", "value": 70.0, "unit": "kg", "origin": "entered by A"},
                {
                    "name": "dose_bq", "value": 370e6, "unit": "Bq",
                    "origin": "RadionuclideTotalDose (0018,1074)",
                },
            ],
            "variants": {
                "SUVlbm(Janma)": {"per_suv": 0.8, "unit": "g/ml{SUVlbm(Janma)}"},
                "SUVibw": {"refused": "pet_no_sex", "reason": "No sex."},
                "SUVlbm(James128)": {"refused": "pet_no_sex", "reason": "No sex."},
            },
        }
    }
    layer.save()
    [found] = pet_values(case, run)
    assert found.inputs == [
        ("Weight 70 kg", "entered by A"),
        ("Injected dose 370 MBq", "RadionuclideTotalDose (0018,1074)"),
    ]
    assert found.variants == [("SUVlbm(Janma)", 0.8)]
    assert found.missing == [("the sex is neither M nor F", "SUVibw, SUVlbm(James128)")]
    assert found.refusal == ""
