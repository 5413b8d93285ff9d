"""The verbs of the receiving room, one module per job; the only writers of its tables."""

from workstation.receiving.services.completing import (
    complete_if_arrived,
    notices_for,
    quiet_studies,
)
from workstation.receiving.services.conflicts import CONFLICTS, with_conflicts
from workstation.receiving.services.expecting import arrivals
from workstation.receiving.services.holding import quarantine
from workstation.receiving.services.identity import (
    CannotChange,
    follow_merges,
    link_patients,
    linked_to,
    merge_patients,
    move_study,
    named_by_headers,
    possibly_same,
    resolve,
    takes,
    undo_change,
    undo_link,
)
from workstation.receiving.services.priors import request_priors
from workstation.receiving.services.quarantining import CannotHandle, discard, release
from workstation.receiving.services.retrieving import came_by_rule
from workstation.receiving.services.storing import (
    Arrival,
    store_instance,
    store_many,
    store_staged,
)
from workstation.receiving.services.sweeping import send_due_network_jobs
from workstation.receiving.services.uploading import count_outcomes, finish_upload, start_upload

__all__ = [
    "CONFLICTS",
    "Arrival",
    "CannotChange",
    "CannotHandle",
    "arrivals",
    "came_by_rule",
    "complete_if_arrived",
    "count_outcomes",
    "discard",
    "finish_upload",
    "follow_merges",
    "link_patients",
    "linked_to",
    "merge_patients",
    "move_study",
    "named_by_headers",
    "notices_for",
    "possibly_same",
    "quarantine",
    "quiet_studies",
    "release",
    "request_priors",
    "resolve",
    "send_due_network_jobs",
    "start_upload",
    "store_instance",
    "store_many",
    "store_staged",
    "takes",
    "undo_change",
    "undo_link",
    "with_conflicts",
]
