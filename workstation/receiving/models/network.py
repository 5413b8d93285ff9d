"""Other DICOM applications: who may send, whom we ask, and what we asked them."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy

from workstation.accounts.models import Site, SiteRow, User
from workstation.receiving.models.archive import Study
from workstation.receiving.models.privacy import DeidentificationProfile


class RetrieveBy(models.TextChoices):
    GET = "get", "C-GET"
    MOVE = "move", "C-MOVE"


class RemoteNode(SiteRow):
    """One DICOM application entity of a site: a scanner, a PACS, a gateway."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="nodes")
    name = models.CharField(max_length=100)
    ae_title = models.CharField(max_length=16)
    host = models.CharField(
        max_length=255, blank=True, help_text="Needed to query it and to answer commitments."
    )
    port = models.PositiveIntegerField(null=True)
    active = models.BooleanField(default=True)
    may_send = models.BooleanField(default=True, help_text="Its associations are accepted.")
    only_from_host = models.BooleanField(
        default=False, help_text="Refuse the AE title when it calls from another address."
    )
    tls = models.BooleanField(default=False, help_text="Connect to it with TLS.")
    certificate_subject = models.CharField(
        max_length=200, blank=True,
        help_text="Common name its client certificate must carry; empty: any the CA signed.",
    )  # fmt: skip
    may_be_queried = models.BooleanField(default=False, help_text="C-FIND for priors and counts.")
    retrieve_by = models.CharField(max_length=4, choices=RetrieveBy, default=RetrieveBy.GET)
    tells_counts = models.BooleanField(
        default=False, help_text="Ask it by C-FIND how many images a study has."
    )
    deidentification = models.ForeignKey(
        DeidentificationProfile, on_delete=models.PROTECT, null=True, blank=True,
        help_text="What it sends is de-identified before it is stored.",
    )  # fmt: skip
    last_seen_at = models.DateTimeField(null=True)
    last_echo_at = models.DateTimeField(null=True)
    last_echo_error = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["site", "name"], name="node_name",
                violation_error_message="Another node of this site has this name.",
            ),
            models.UniqueConstraint(
                fields=["ae_title"],
                condition=models.Q(may_send=True, active=True),
                name="one_site_per_sender",
                # It may be of a site that this administrator cannot see: no more than the title.
                violation_error_message="Another active node, here or at another site, sends under "
                "this AE title. A sender must have a title of its own.",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return self.name


class UnknownCaller(models.Model):
    """Somebody was refused at the door: shown to administrators, who may allow it."""

    ae_title = models.CharField(max_length=16)
    address = models.CharField(max_length=64)
    reason = models.CharField(max_length=100)
    first_at = models.DateTimeField(auto_now_add=True)
    last_at = models.DateTimeField()
    count = models.PositiveIntegerField(default=1)

    class Meta:
        ordering = ["-last_at"]
        constraints = [
            models.UniqueConstraint(fields=["ae_title", "address", "reason"], name="caller_once")
        ]


class PriorRule(SiteRow):
    """Fetch earlier or missing studies of the same patient when a study arrives."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT)
    name = models.CharField(max_length=100)
    node = models.ForeignKey(RemoteNode, on_delete=models.PROTECT, related_name="prior_rules")
    active = models.BooleanField(default=True)
    when_modalities = models.CharField(
        max_length=80, blank=True, help_text="E.g. ``PT CT``; empty: any study."
    )
    fetch_modalities = models.CharField(max_length=80, blank=True)
    same_body_part = models.BooleanField(default=True)
    years = models.PositiveSmallIntegerField(default=5)
    at_most = models.PositiveSmallIntegerField(default=5, help_text="Studies, newest first.")

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["site", "name"], name="prior_rule_name",
                violation_error_message="Another rule of this site has this name.",
            )
        ]  # fmt: skip


class RetrievalState(models.TextChoices):
    WAITING = "waiting", gettext_lazy("Waiting")
    RUNNING = "running", gettext_lazy("Running")
    DONE = "done", gettext_lazy("Done")
    FAILED = "failed", gettext_lazy("Failed")
    CANCELLED = "cancelled", gettext_lazy("Cancelled")


class Retrieval(SiteRow):
    """The fetching of one study (or some series of it) from a node: the row is the job.

    ``state`` is written only by ``receiving.states``.
    """

    site = models.ForeignKey(Site, on_delete=models.PROTECT)
    node = models.ForeignKey(RemoteNode, on_delete=models.PROTECT, related_name="retrievals")
    state = models.CharField(
        max_length=10, choices=RetrievalState, default=RetrievalState.WAITING, db_index=True
    )
    study_instance_uid = models.CharField(max_length=64)
    series_instance_uids = models.JSONField(default=list, blank=True)
    description = models.CharField(max_length=200, blank=True)
    study_date = models.DateField(null=True)
    modalities = models.CharField(max_length=80, blank=True)
    asked_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    rule = models.ForeignKey(PriorRule, on_delete=models.SET_NULL, null=True)
    because_of = models.ForeignKey(
        Study, on_delete=models.SET_NULL, null=True, related_name="prior_retrievals"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    next_attempt_at = models.DateTimeField(null=True, db_index=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    cancel_asked = models.BooleanField(default=False)
    expected = models.PositiveIntegerField(null=True)
    completed = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(
        default=0, help_text="Arrived, but not accepted: they are in quarantine."
    )
    error = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["site", "study_instance_uid"], name="retrieval_study")]


class InquiryPurpose(models.TextChoices):
    COUNT = "count", gettext_lazy("How many images a study has")
    PRIORS = "priors", gettext_lazy("Earlier or missing studies")


class InquiryState(models.TextChoices):
    WAITING = "waiting", gettext_lazy("Waiting")
    ASKING = "asking", gettext_lazy("Asking")
    ANSWERED = "answered", gettext_lazy("Answered")
    FAILED = "failed", gettext_lazy("Failed")


class Inquiry(SiteRow):
    """A C-FIND that we ask by ourselves when a study arrives: the row is the job.

    ``state`` is written only by ``receiving.states``.
    """

    site = models.ForeignKey(Site, on_delete=models.PROTECT)
    node = models.ForeignKey(RemoteNode, on_delete=models.PROTECT, related_name="+")
    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="inquiries")
    purpose = models.CharField(max_length=8, choices=InquiryPurpose)
    rule = models.ForeignKey(PriorRule, on_delete=models.CASCADE, null=True)
    state = models.CharField(
        max_length=10, choices=InquiryState, default=InquiryState.WAITING, db_index=True
    )
    asked_at = models.DateTimeField(help_text="When the study first wanted to know.")
    started_at = models.DateTimeField(null=True)
    next_attempt_at = models.DateTimeField(null=True, db_index=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    result = models.CharField(
        max_length=500, blank=True, help_text="What was found, left out, and why."
    )
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["study", "rule"], condition=models.Q(purpose="priors"),
                name="priors_once",
            ),
            models.UniqueConstraint(
                fields=["study"], condition=models.Q(purpose="count"), name="count_once"
            ),
        ]  # fmt: skip


class CommitmentState(models.TextChoices):
    WAITING = "waiting", gettext_lazy("Waiting")
    SENDING = "sending", gettext_lazy("Sending")
    SENT = "sent", gettext_lazy("Sent")
    FAILED = "failed", gettext_lazy("Failed")


class Commitment(SiteRow):
    """A sender asked whether its objects are safe (Storage Commitment Push Model, PS3.4 J)."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT)
    node = models.ForeignKey(RemoteNode, on_delete=models.PROTECT, null=True)
    calling_ae_title = models.CharField(max_length=16)
    transaction_uid = models.CharField(max_length=64)
    asked_at = models.DateTimeField(auto_now_add=True)
    references = models.JSONField(help_text="Pairs of SOP class and instance UID.")
    committed = models.PositiveIntegerField(default=0)
    missing = models.PositiveIntegerField(default=0)
    state = models.CharField(
        max_length=10, choices=CommitmentState, default=CommitmentState.WAITING
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    started_at = models.DateTimeField(null=True)
    next_attempt_at = models.DateTimeField(null=True, db_index=True)
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["calling_ae_title", "transaction_uid"], name="commitment_once"
            )
        ]


class StepKind(models.TextChoices):
    MPPS = "mpps", gettext_lazy("Modality performed procedure step")
    IAN = "ian", gettext_lazy("Instance availability notification")


class PerformedStep(SiteRow):
    """What a sender says about the objects of an examination: MPPS (PS3.4 annex F) from a
    scanner, or an Instance Availability Notification (annex R) from an archive."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT)
    kind = models.CharField(max_length=4, choices=StepKind, default=StepKind.MPPS)
    sent_by = models.CharField(max_length=16, blank=True, help_text="Calling AE title.")
    sop_instance_uid = models.CharField(max_length=64)
    status = models.CharField(max_length=16)
    study_instance_uid = models.CharField(max_length=64, blank=True, db_index=True)
    instances = models.PositiveIntegerField(
        default=0, help_text="Distinct SOP instances its performed series list."
    )
    references = models.JSONField(default=list, help_text="SOP instance UIDs, each once.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["site", "sop_instance_uid"], name="performed_once")
        ]
