"""Which run of a case is on screen."""

from __future__ import annotations

from workstation.analyzing.models import Layer, Run
from workstation.analyzing.services import latest_done_run, latest_run
from workstation.worklist.models import Case


def current_run(case: Case) -> Run | None:
    """The run a reader works with: the latest finished one, else the latest under way.

    Never one over a study that has left the case: its images are another patient's, or of a site
    that no link opens any more, and a new run may take minutes or fail.
    """
    runs = (latest_done_run(case), latest_run(case))
    return next((run for run in runs if run and not shows_strangers(run)), None)


def shows_strangers(run: Run) -> bool:
    """Whether the run looked at images of a study that has left its case since."""
    layers = Layer.objects.filter(run=run, series__isnull=False)
    return layers.exclude(series__study__cases=run.case_id).exists()
