"""All findings of a case: found by the pathway's way, numbered, laid into one label volume."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from analysis.contracts import FindingRecord, Notice
from analysis.findings.avid import find_avid
from analysis.findings.brain import find_lesions
from analysis.findings.case import Candidate, CaseImages, Measured
from analysis.findings.contours import find_contours
from analysis.findings.lung import find_nodules
from analysis.findings.shape import tracking_uid
from analysis.progress import Progress

LIMIT = 20
"""Network findings in one case; more would be noise, and a label volume holds 255."""
SAME_SHARE = 0.5
"""A candidate of which this share already belongs to an earlier finding is that finding."""


def measure_case(case: CaseImages, progress: Progress) -> Measured:
    """Findings in the order: delivered contours, then the pathway's, most probable first."""
    progress(0.05, "delivered contours")
    candidates, notices = find_contours(case)
    progress(0.3, "measuring findings")
    if not case.outputs:
        found, more = find_avid(case)
        if case.pathway != "general":
            more.append(
                Notice(
                    "no_network_findings",
                    f"No network ran for the {case.pathway} pathway: findings come from "
                    "delivered contours and PET thresholds only.",
                )
            )
    elif case.pathway == "lung":
        found, more = find_nodules(case)
    else:
        found, more = find_lesions(case)
    found.sort(key=lambda c: -(c.record.probability or 0.0))  # stable: equals keep their order
    notices += more
    if len(found) > LIMIT:
        notices.append(
            Notice(
                "more_candidates",
                f"{len(found) - LIMIT} more candidate(s) of lower probability are not listed.",
            )
        )
    progress(0.9, "writing the segmentation")
    findings, labels = _number(case, candidates + found[:LIMIT])
    return Measured(findings, labels, tuple(notices))


def _number(
    case: CaseImages, candidates: list[Candidate]
) -> tuple[tuple[FindingRecord, ...], npt.NDArray[np.uint8]]:
    labels = np.zeros(case.reference.volume.grid.shape, dtype=np.uint8)
    findings: list[FindingRecord] = []
    for candidate in candidates:
        view = labels[
            tuple(
                slice(a, a + n)
                for a, n in zip(candidate.start, candidate.mask.shape, strict=True)
            )
        ]
        size = int(candidate.mask.sum())
        if np.count_nonzero(view[candidate.mask]) >= SAME_SHARE * size:
            continue
        number = len(findings) + 1
        view[candidate.mask & (view == 0)] = number
        record = candidate.record
        uid = tracking_uid(case.reference_uid, record.label, str(record.position))
        findings.append(replace(record, number=number, tracking_uid=uid))
    return tuple(findings), labels
