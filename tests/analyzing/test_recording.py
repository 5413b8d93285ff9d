"""Results become rows; twice is once; what does not fit is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from analysis.contracts import STEPS, VolumeRecord, from_json, to_json
from tests.analyzing.conftest import uids_of
from tests.analyzing.results import leave_result, ramp, result_of, stored
from workstation.analyzing.models import LayerKind, Run, Step
from workstation.analyzing.recording import ResultInvalid, load_result, outlines_of, record_result
from workstation.analyzing.requests import run_folder, step_request
from workstation.analyzing.services import facts_of
from workstation.analyzing.volume_files import record_of
from workstation.receiving.storage import path_of

DoStep = Callable[[Run, str], Step]


def rows(run: Run) -> dict[str, list[dict[str, Any]]]:
    """Every row a run's results made, without keys."""
    related = ("layers", "registrations", "findings", "sentences", "notices", "facts")
    found: dict[str, list[dict[str, Any]]] = {}
    for name in related:
        found[name] = [
            {k: v for k, v in row.items() if k not in ("id", "finding_id")}
            for row in getattr(run, name).order_by("pk").values()
        ]
    return found


def test_every_step_makes_its_rows(run: Run, do_step: DoStep) -> None:
    reference, other = uids_of(run.case)
    for name in STEPS:
        do_step(run, name)
    layers = list(run.layers.all())
    assert [(x.kind, x.key, x.is_reference) for x in layers] == [
        (LayerKind.SERIES, reference, True),
        (LayerKind.SERIES, other, False),
        (LayerKind.HEATMAP, "heatmap", False),
        (LayerKind.SEGMENTATION, "segmentation", False),
    ]
    assert layers[1].series is not None and layers[1].series.series_instance_uid == other
    assert isinstance(record_of(layers[0]), VolumeRecord)
    registration = run.registrations.get(series__series_instance_uid=other)
    assert registration.state == "registered"
    assert registration.reference.series_instance_uid == reference
    assert registration.matrix[0] == [1.0, 0.0, 0.0, 0.0]
    assert registration.quality[0]["name"] == "overlap"
    facts = facts_of(run)
    assert facts["pathway"] == "lung" and facts["case_probability"] == 0.75
    assert facts["segmentation_model"]["name"] == "fusion-lung"
    assert "classifier_model" not in facts
    finding = run.findings.get()
    assert (finding.x_mm, finding.y_mm, finding.z_mm) == (-4.0, -16.0, 104.5)
    assert (finding.volume_ml, finding.suv_max, finding.mean_unit) == (0.7, 5.4, "[hnsf'U]")
    assert finding.evidence["suv_max_position"] == [-4.0, -16.0, 103.0]
    first, second = run.sentences.all()
    assert first.finding is None and first.basis == "series"
    assert second.finding == finding
    notice = run.notices.get()
    assert notice.step == "assemble" and notice.series.series_instance_uid == reference
    assert [o.name for o in outlines_of(run)] == ["GTV"]


def test_recording_twice_leaves_the_same_rows(run: Run, do_step: DoStep) -> None:
    for name in STEPS:
        do_step(run, name)
    before = rows(run)
    for step in run.steps.all():
        record_result(step, load_result(step, f"{step.name}/result.json"))
    assert rows(run) == before


def test_a_run_again_from_the_same_bytes_makes_the_same_rows(
    run: Run, do_step: DoStep
) -> None:
    for name in STEPS:
        do_step(run, name)
    first = rows(run)
    folder = run_folder(run)
    again = {name: (folder / name / "result.json").read_bytes() for name in STEPS}
    for name in STEPS:
        leave_result(name, folder, uids_of(run.case))
    assert {name: (folder / name / "result.json").read_bytes() for name in STEPS} == again
    assert rows(run) == first


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        ("assemble/result.json", None, "missing"),
        ("assemble/result.json", b"{}", "does not fit"),
        ("assemble/result.json", b"not json", "does not fit"),
        ("../outside.json", b"{}", "outside"),
        ("/etc/hostname", None, "outside"),
    ],
)
def test_unusable_results_are_refused(
    run: Run, path: str, content: bytes | None, reason: str
) -> None:
    step = run.steps.get(name="assemble")
    file = run_folder(run) / path
    if content is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    with pytest.raises(ResultInvalid, match=reason):
        load_result(step, path)


def test_a_result_about_foreign_series_is_refused(run: Run) -> None:
    step = run.steps.get(name="assemble")
    with pytest.raises(ResultInvalid, match="not in the case"):
        record_result(step, result_of("assemble", run_folder(run), ("1.2.3",)))


def test_the_request_names_archived_files_and_the_device(run: Run, settings: Any) -> None:
    settings.ANALYSIS_DEVICE = "cuda"
    request = step_request(run.steps.get(name="infer"))
    assert (request.step, request.device, request.seed) == ("infer", "cuda", run.seed)
    assert request.run_dir == str(settings.RUNS_DIR / str(run.case_id) / "1")
    study = run.case.studies.get()
    shas = [i.sha256 for s in study.series.all() for i in s.instances.all()]
    assert {p for s in request.series for p in s.paths} == {str(path_of(sha)) for sha in shas}
    assert step_request(run.steps.get(name="assemble")).device == "cpu"
    assert from_json(type(request), to_json(request)) == request


def test_a_series_that_lies_deformed_brings_a_layer_beside_it(run: Run, do_step: DoStep) -> None:
    do_step(run, "assemble")
    step = run.steps.get(name="register")
    uids = uids_of(run.case)
    result = result_of("register", run_folder(run), uids)
    volume = stored(run_folder(run), f"deformed-{uids[1]}", ramp(), path="register/d.rfv")
    for _ in range(2):  # recorded again, it is replaced
        record_result(step, replace(result, deformed=(volume,)))
    [layer] = run.layers.filter(kind=LayerKind.DEFORMED)
    assert layer.series.series_instance_uid == uids[1] and layer.refinement is None
    with pytest.raises(ResultInvalid, match="not in the case"):
        record_result(step, replace(result, deformed=(replace(volume, key="deformed-9.9"),)))
