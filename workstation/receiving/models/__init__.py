"""The tables of the receiving room, one module per subject."""

from workstation.receiving.models.archive import (
    Instance,
    NoticeLevel,
    Patient,
    RoleSource,
    Series,
    Study,
    StudyNotice,
)
from workstation.receiving.models.identity import (
    ChangeKind,
    IdentityChange,
    PatientLink,
)
from workstation.receiving.models.intake import (
    Disc,
    Quarantined,
    QuarantineState,
    Upload,
    UploadedFile,
    UploadedFileState,
)
from workstation.receiving.models.keeping import (
    Deletion,
    RetentionRule,
)
from workstation.receiving.models.network import (
    Commitment,
    CommitmentState,
    Inquiry,
    InquiryPurpose,
    InquiryState,
    PerformedStep,
    PriorRule,
    RemoteNode,
    Retrieval,
    RetrievalState,
    RetrieveBy,
    StepKind,
    UnknownCaller,
)
from workstation.receiving.models.privacy import (
    Dates,
    DeidentificationProfile,
    VaultEntry,
    VaultKind,
    VaultOpening,
)

__all__ = [
    "ChangeKind",
    "Commitment",
    "CommitmentState",
    "Dates",
    "DeidentificationProfile",
    "Deletion",
    "Disc",
    "IdentityChange",
    "Inquiry",
    "InquiryPurpose",
    "InquiryState",
    "Instance",
    "NoticeLevel",
    "Patient",
    "PatientLink",
    "PerformedStep",
    "PriorRule",
    "QuarantineState",
    "Quarantined",
    "RemoteNode",
    "RetentionRule",
    "Retrieval",
    "RetrievalState",
    "RetrieveBy",
    "RoleSource",
    "Series",
    "StepKind",
    "Study",
    "StudyNotice",
    "UnknownCaller",
    "Upload",
    "UploadedFile",
    "UploadedFileState",
    "VaultEntry",
    "VaultKind",
    "VaultOpening",
]
