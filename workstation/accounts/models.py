"""Sites, users, roles, and the append-only audit record."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils.translation import gettext_lazy


class SiteQuerySet(models.QuerySet[Any]):
    """The one row filter: every page, API, socket and file starts from ``for_user``."""

    def for_user(self, user: Any) -> Self:
        """Rows of the sites the user belongs to; nobody sees everything, anonymous sees nothing."""
        if not user.is_authenticated or not user.is_active:
            return self.none()
        path = self.model.SITE_PATH
        rows = self.filter(**{f"{path}__in": user.sites.all()})
        token = getattr(user, "token", None)
        return rows if token is None else rows.filter(**{path: token.site_id})


class SiteRow(models.Model):
    """Base of every row that belongs to a site; ``SITE_PATH`` is the lookup from row to site."""

    SITE_PATH: ClassVar[str] = "site"
    objects = SiteQuerySet.as_manager()

    class Meta:
        abstract = True


class Site(models.Model):
    """A hospital or department; the unit of separation."""

    code = models.SlugField(max_length=32, unique=True)
    name = models.CharField(max_length=200)
    time_zone = models.CharField(max_length=64, default="UTC")

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    RADIOLOGIST = "radiologist", gettext_lazy("Radiologist")
    LEAD = "lead", gettext_lazy("Department lead")
    ADMINISTRATOR = "administrator", gettext_lazy("Administrator")


class User(AbstractUser):
    """A person. One role, any number of sites."""

    role = models.CharField(max_length=20, choices=Role, default=Role.RADIOLOGIST)
    sites = models.ManyToManyField(Site, related_name="users", blank=True)
    title = models.CharField(max_length=100, blank=True, help_text="Printed under a signature.")
    token: AccessToken | None = None
    """Set for a request that came with an access token: it narrows rows and permissions."""

    @property
    def display_name(self) -> str:
        return self.get_full_name() or self.username


class TokenScope(models.TextChoices):
    READ = "read", gettext_lazy("Search and retrieve")
    WRITE = "write", gettext_lazy("Store")
    BOTH = "both", gettext_lazy("Search, retrieve and store")

    @property
    def permissions(self) -> frozenset[str]:
        """What a token of this scope may do, of what its owner may do."""
        read, write = frozenset({"dicomweb.read"}), frozenset({"dicomweb.write"})
        return {"read": read, "write": write, "both": read | write}[self.value]


class AccessToken(SiteRow):
    """What a program shows instead of a session: one site, one scope, an end.

    Only the SHA-256 of the secret is kept.
    """

    site = models.ForeignKey(Site, on_delete=models.PROTECT)
    user = models.ForeignKey(
        User, on_delete=models.PROTECT, related_name="tokens", help_text="Who answers for it."
    )
    name = models.CharField(max_length=100)
    scope = models.CharField(max_length=8, choices=TokenScope, default=TokenScope.READ)
    prefix = models.CharField(max_length=12, help_text="Its first letters, to tell it apart.")
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]


class AuditRecord(SiteRow):
    """Who did what to which object, when, from where. Never updated, never deleted.

    Written only by ``accounts.services.record``; the database refuses UPDATE and DELETE by trigger.
    """

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    site = models.ForeignKey(Site, on_delete=models.PROTECT, null=True)
    user = models.ForeignKey(User, on_delete=models.PROTECT, null=True)
    username = models.CharField(max_length=150, blank=True)
    action = models.CharField(max_length=40, db_index=True)
    object_type = models.CharField(max_length=40, blank=True)
    object_id = models.CharField(max_length=64, blank=True)
    case_id = models.BigIntegerField(null=True, db_index=True)
    remote_address = models.CharField(max_length=64, blank=True)
    detail = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["-id"]


class Preference(models.Model):
    """How one person likes to work: layouts, keys, columns, language. Known keys: preferences.py.

    Nobody else sees it, so it belongs to a user, not to a site.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="preferences")
    key = models.CharField(max_length=40)
    value = models.JSONField()
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="preference_once")]
