"""The verbs of the receiving room, one module per job; the only writers of its tables."""

from workstation.receiving.services.completing import complete_quiet_studies, notices_for
from workstation.receiving.services.holding import quarantine
from workstation.receiving.services.quarantining import CannotHandle, discard, release
from workstation.receiving.services.storing import store_instance, store_staged
from workstation.receiving.services.uploading import count_outcomes, finish_upload, start_upload

__all__ = [
    "CannotHandle",
    "complete_quiet_studies",
    "count_outcomes",
    "discard",
    "finish_upload",
    "notices_for",
    "quarantine",
    "release",
    "start_upload",
    "store_instance",
    "store_staged",
]
