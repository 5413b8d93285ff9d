"""Verdicts in order."""

from __future__ import annotations

from analysis.contracts import Verdict

RANK: dict[Verdict, int] = {"usable": 0, "doubtful": 1, "refused": 2}
"""Best first."""


def worst(*verdicts: Verdict) -> Verdict:
    """The worst of some verdicts."""
    return max(verdicts, key=lambda verdict: RANK[verdict])
