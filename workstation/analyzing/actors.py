"""Messages to the workers: "look at this step", or refinement. All else stands in its row."""

from __future__ import annotations

import dramatiq
from django.conf import settings

from workstation.analyzing.performing import perform_refinement, perform_step
from workstation.broker import CPU_QUEUE, GPU_QUEUE

# The step's own deadline, which kills its child, comes first; this one frees a stuck worker.
_LIMIT_MS = (settings.STEP_DEADLINE_SECONDS + 600) * 1000


@dramatiq.actor(queue_name=CPU_QUEUE, max_retries=0, time_limit=_LIMIT_MS)
def run_cpu_step(step_id: int) -> None:
    """Assembly, registration, measuring, drafting."""
    perform_step(step_id)


@dramatiq.actor(queue_name=GPU_QUEUE, max_retries=0, time_limit=_LIMIT_MS)
def run_gpu_step(step_id: int) -> None:
    """Fusion inference; one worker process per device."""
    perform_step(step_id)


@dramatiq.actor(queue_name=CPU_QUEUE, max_retries=0, time_limit=_LIMIT_MS)
def run_refinement(refinement_id: int) -> None:
    """A reader's "refine from here", rigid or affine."""
    perform_refinement(refinement_id)


@dramatiq.actor(queue_name=GPU_QUEUE, max_retries=0, time_limit=_LIMIT_MS)
def run_gpu_refinement(refinement_id: int) -> None:
    """A deformable one: torch, on the device if there is one."""
    perform_refinement(refinement_id)
