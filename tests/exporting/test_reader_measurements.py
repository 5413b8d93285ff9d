"""The reader's measurements in the SR: read back by highdicom, checked by dciodvfy."""

from __future__ import annotations

from typing import Any

import highdicom as hd
import numpy as np
import pytest

from tests.exporting.house import House
from tests.exporting.test_objects import complaints, written
from workstation.reading.marks import hide
from workstation.reading.measurements import make_measurement
from workstation.reading.models import Measurement

CENTRE = [0.0, 0.0, 112.0]
"""Inside the CT, whose middle lies at (0.25, 0, 114)."""


def draw(house: House, tool: str, points: Any, **more: Any) -> Measurement:
    return make_measurement(house.case, house.reader, tool=tool, points=points, **more)


def coded(group: Any) -> dict[tuple[str, str], tuple[float, str]]:
    """(concept, derivation) -> (value, unit)."""
    return {
        (one.name.value, one.derivation.value if one.derivation else ""): (
            one.value, one.unit.value,
        )
        for one in group.get_measurements()
    }  # fmt: skip


def test_each_tool_leaves_as_far_as_it_has_codes(house: House) -> None:
    draw(house, "length", [CENTRE, [3.0, 4.0, 124.0]], label="node")
    draw(house, "bidirectional", [[0, -3, 112], [0, 3, 112], [-5, 0, 112], [5, 0, 112]])
    draw(house, "angle", [[1, 0, 112], CENTRE, [0, 1, 112]])
    area = draw(
        house, "ellipse", [CENTRE, [6.0, 0.0, 112.0], [0.0, 4.0, 112.0]],
        plane={"normal": [0, 0, 1]},
    )  # fmt: skip
    sphere = draw(house, "sphere", [CENTRE, [7.0, 0.0, 112.0]])
    draw(house, "probe", [CENTRE])
    draw(house, "arrow", [CENTRE, [9.0, 9.0, 112.0]], label="see here")
    hide(draw(house, "length", [CENTRE, [30.0, 0.0, 112.0]]), house.reader)
    files = written(house)
    assert complaints(files["sr"]) == []
    report = hd.sr.srread(files["sr"]).content

    plain = {g.tracking_identifier: g for g in report.get_image_measurement_groups()}
    assert list(plain) == [
        "M1 length node", "M2 bidirectional", "M3 angle", "M6 probe", "M7 arrow see here",
    ]  # fmt: skip
    assert coded(plain["M1 length node"]) == {("410668003", ""): (13.0, "mm")}
    [length] = plain["M1 length node"].get_measurements()
    [line] = [c for c in length[0].ContentSequence if c.ValueType == "SCOORD3D"]
    assert np.allclose(line.GraphicData, [*CENTRE, 3, 4, 124])
    assert line.ReferencedFrameOfReferenceUID == house.ct_headers[0].FrameOfReferenceUID
    assert coded(plain["M2 bidirectional"]) == {
        ("103339001", ""): (10.0, "mm"), ("103340004", ""): (6.0, "mm"),
    }  # fmt: skip
    [long_axis, _] = plain["M2 bidirectional"].get_measurements()
    [line] = [c for c in long_axis[0].ContentSequence if c.ValueType == "SCOORD3D"]
    assert np.allclose(line.GraphicData, [-5, 0, 112, 5, 0, 112])
    assert coded(plain["M3 angle"]) == {("1483009", ""): (90.0, "deg")}
    for name in ("M6 probe", "M7 arrow see here"):
        [told] = plain[name].get_qualitative_evaluations()
        assert told.value.value == "NOT_CODED" and not plain[name].get_measurements()

    [planar] = report.get_planar_roi_measurement_groups()
    values = coded(planar)
    rows = {row.name: row.value for row in area.values.filter(key__in=["", area.layers[0]])}
    assert values[("42798000", "")] == (pytest.approx(rows["area"], abs=1e-4), "mm2")
    assert values[("112031", "373098007")] == (pytest.approx(rows["mean"], abs=1e-4), "[hnsf'U]")
    assert values[("112031", "386136009")] == (pytest.approx(rows["sd"], abs=1e-4), "[hnsf'U]")
    assert np.allclose(planar.roi.value[:-1], area.outline)
    assert np.allclose(planar.roi.value[-1], area.outline[0]), "closed"

    volumes = {g.tracking_identifier: g for g in report.get_volumetric_roi_measurement_groups()}
    found = coded(volumes["M5 sphere"])
    expected = sphere.values.get(name="volume").value
    assert found[("118565006", "")] == (pytest.approx(expected, abs=1e-4), "ml")
    surface = volumes["M5 sphere"].roi
    assert np.allclose(np.linalg.norm(np.vstack(surface.graphic_data) - CENTRE, axis=1), 7.0)


def test_a_mark_of_another_space_has_no_place_in_this_one(house: House) -> None:
    row = draw(house, "length", [CENTRE, [3.0, 4.0, 124.0]])
    row.evidence["reference"] = "1.2.3"
    row.save()
    report = hd.sr.srread(written(house)["sr"]).content
    [group] = report.get_image_measurement_groups()
    assert group.tracking_identifier == "M1 length"
    assert [one.value.value for one in group.get_qualitative_evaluations()] == ["NOT_CODED"]


def test_values_from_before_an_alignment_are_not_written_as_those_of_now(house: House) -> None:
    row = draw(house, "sphere", [CENTRE, [7.0, 0.0, 112.0]])
    volume = row.values.get(name="volume").value
    for placed in row.evidence["placed"].values():
        placed["matrix"] = [[1.0, 0.0, 0.0, 5.0], *placed["matrix"][1:]]
    row.save()
    report = hd.sr.srread(written(house)["sr"]).content
    groups = {g.tracking_identifier: g for g in report.get_volumetric_roi_measurement_groups()}
    assert coded(groups["M1 sphere"]) == {
        ("118565006", ""): (pytest.approx(volume, abs=1e-4), "ml")
    }
