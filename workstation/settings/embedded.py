"""One-command start: the same code paths as production, with defaults for one machine.

SQLite, a Valkey server on a private socket started by ``deploy/run``, local folders.
"""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

_home = Path(
    os.environ.setdefault("RADFUSE_HOME", str(Path(__file__).resolve().parents[2] / "data"))
)
_home.mkdir(parents=True, exist_ok=True)
_key_file = _home / "secret_key"
if "RADFUSE_SECRET_KEY" not in os.environ:
    if not _key_file.exists():
        _key_file.touch(mode=0o600)
        _key_file.write_text(secrets.token_urlsafe(64))
    os.environ["RADFUSE_SECRET_KEY"] = _key_file.read_text()
_vault_key_file = _home / "vault_key"
if "RADFUSE_VAULT_KEY" not in os.environ:
    if not _vault_key_file.exists():
        _vault_key_file.touch(mode=0o600)
        _vault_key_file.write_text(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
    os.environ["RADFUSE_VAULT_KEY"] = _vault_key_file.read_text()
os.environ.setdefault("RADFUSE_ALLOWED_HOSTS", "*")
os.environ.setdefault("RADFUSE_HTTPS", "false")
os.environ.setdefault("RADFUSE_DATABASE_URL", f"sqlite:///{_home / 'radfuse.sqlite3'}")
os.environ.setdefault("RADFUSE_BROKER_URL", f"unix://{_home / 'valkey.sock'}")
os.environ.setdefault("RADFUSE_DICOM_HOST", "127.0.0.1")
os.environ.setdefault("RADFUSE_QUIET_SECONDS", "5")

from workstation.settings.base import *  # noqa: E402, F403
from workstation.settings.base import DATABASES  # noqa: E402

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        # IMMEDIATE: a writer waits for the lock instead of failing half-way ("database is locked").
        "transaction_mode": "IMMEDIATE",
        "timeout": 30,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
