"""Settings of the test run: as embedded, in a throw-away folder, with in-memory stand-ins.

The stand-ins (stub broker, in-memory channel layer) serve unit tests only; stories that promise
survival start the real servers through ``deploy/run``.
"""

from __future__ import annotations

import os
import tempfile

os.environ["RADFUSE_HOME"] = tempfile.mkdtemp(prefix="radfuse-test-")
os.environ["RADFUSE_SECRET_KEY"] = "for tests only"
os.environ["RADFUSE_BROKER_URL"] = "stub"
os.environ.pop("RADFUSE_DATABASE_URL", None)
if "RADFUSE_TEST_DATABASE_URL" in os.environ:
    os.environ["RADFUSE_DATABASE_URL"] = os.environ["RADFUSE_TEST_DATABASE_URL"]

from workstation.settings.embedded import *  # noqa: F403

STATIC_ROOT.mkdir()  # noqa: F405  (WhiteNoise warns about a missing folder)
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
AXES_ENABLED = False
STORAGES = {
    **STORAGES,  # noqa: F405
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
if not (FRONTEND_DIST / "manifest.json").exists():  # noqa: F405
    # Unit tests of pages run without a built frontend; the browser tests build it.
    DJANGO_VITE = {"default": {"dev_mode": True}}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":  # noqa: F405
    # A file, as in the product: an in-memory database has other locks, and threads would fail.
    DATABASES["default"]["TEST"] = {"NAME": str(RADFUSE_HOME / "test.sqlite3")}  # noqa: F405
