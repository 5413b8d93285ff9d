"""Production-strict settings: everything from the environment, secrets have no default.

Each variable read here is described in ``deploy/env.example``; a test compares the two lists.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import environ

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parents[2]

# --- where things are -------------------------------------------------------------------------
RADFUSE_HOME = Path(env.str("RADFUSE_HOME")).resolve()
ARCHIVE_DIR = RADFUSE_HOME / "archive"
RUNS_DIR = RADFUSE_HOME / "runs"
QUARANTINE_DIR = RADFUSE_HOME / "quarantine"
UPLOADS_DIR = RADFUSE_HOME / "uploads"
EXPORTS_DIR = RADFUSE_HOME / "exports"

# --- who may talk to us -----------------------------------------------------------------------
SECRET_KEY = env.str("RADFUSE_SECRET_KEY")
VAULT_KEY = env.str("RADFUSE_VAULT_KEY", default="")
"""Encrypts what pseudonyms stand for, and makes them. Without it nothing is de-identified."""
DEBUG = False
ALLOWED_HOSTS = env.list("RADFUSE_ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = env.list("RADFUSE_CSRF_TRUSTED_ORIGINS", default=[])
HTTPS = env.bool("RADFUSE_HTTPS", default=True)

# --- DICOM network ----------------------------------------------------------------------------
DICOM_AE_TITLE = env.str("RADFUSE_AE_TITLE", default="RADFUSE")
DICOM_HOST = env.str("RADFUSE_DICOM_HOST", default="0.0.0.0")
DICOM_PORT = env.int("RADFUSE_DICOM_PORT", default=11112)
DICOM_TLS_PORT = env.int("RADFUSE_DICOM_TLS_PORT", default=0)
"""A second port, where callers must show a certificate; 0: none."""
LISTENER_PROCESSES = env.int("RADFUSE_LISTENER_PROCESSES", default=0) or min(
    os.cpu_count() or 1, 4
)
"""Processes that receive on the same ports; 0: one for each processor, four at most."""
DICOM_MAX_ASSOCIATIONS = env.int("RADFUSE_DICOM_MAX_ASSOCIATIONS", default=64)
"""For each listener process; more are refused as "local limit exceeded"."""
DICOM_ACSE_SECONDS = env.float("RADFUSE_DICOM_ACSE_SECONDS", default=30.0)
"""How long a caller may take to ask for an association, and to hang up after its end."""
DICOM_DIMSE_SECONDS = env.float("RADFUSE_DICOM_DIMSE_SECONDS", default=60.0)
"""How long one packet (128 KiB) may take to arrive, and the answer to a message of ours."""
DICOM_IDLE_SECONDS = env.float("RADFUSE_DICOM_IDLE_SECONDS", default=300.0)
"""A silent association is ended after this long."""
DICOM_DEFAULT_SITE = env.str("RADFUSE_DEFAULT_SITE", default="")
"""Code of the site that gets what unknown callers send; empty: unknown callers are refused."""
QUIET_SECONDS = env.int("RADFUSE_QUIET_SECONDS", default=60)
"""A study is complete when nothing arrived for it for this long."""
COUNTED_QUIET_SECONDS = env.int("RADFUSE_COUNTED_QUIET_SECONDS", default=5)
"""As QUIET_SECONDS, once every image that the sender announced is here."""
EXPECTED_WAIT_SECONDS = env.int("RADFUSE_EXPECTED_WAIT_SECONDS", default=10 * QUIET_SECONDS)
"""How long a study waits for announced images that do not come."""
DICOM_TLS_CERTIFICATE = env.str("RADFUSE_DICOM_TLS_CERTIFICATE", default="")
DICOM_TLS_KEY = env.str("RADFUSE_DICOM_TLS_KEY", default="")
DICOM_TLS_CA = env.str("RADFUSE_DICOM_TLS_CA", default="")
"""Our certificate and key, and the authorities that we trust; files in PEM."""
DEMO_DESTINATION_PORT = env.int("RADFUSE_DEMO_DESTINATION_PORT", default=11113)
"""Where the demo's stand-in for a hospital PACS listens (``deploy/run`` only)."""
DICOMWEB_ORIGINS = env.list("RADFUSE_DICOMWEB_ORIGINS", default=[])
"""Web viewers on another origin (OHIF) that may call DICOMweb with a token."""
MAX_UPLOAD_BYTES = env.int("RADFUSE_MAX_UPLOAD_BYTES", default=8 * 1024**3)
UPLOAD_DAYS = env.int("RADFUSE_UPLOAD_DAYS", default=7)
"""Half-sent files of a browser upload are kept this long after its last byte."""

# --- analysis ---------------------------------------------------------------------------------
ANALYSIS_DEVICE = env.str("RADFUSE_DEVICE", default="cpu")
ANALYSIS_THREADS = env.int("RADFUSE_THREADS", default=2)
MODELS_DIR = env.str("RADFUSE_MODELS_DIR", default="")
STEP_DEADLINE_SECONDS = env.int("RADFUSE_STEP_DEADLINE_SECONDS", default=1800)
STEP_MEMORY_LIMIT_MB = env.int("RADFUSE_STEP_MEMORY_LIMIT_MB", default=0)
"""A step using more is stopped and tried again; 0 leaves it to the operating system."""
STEP_COMMAND = env.list("RADFUSE_STEP_COMMAND", default=[]) or [
    sys.executable, "-m", "analysis", "serve",
]  # fmt: skip
"""The child process that does steps (comma-separated words)."""
STEP_MAX_ATTEMPTS = env.int("RADFUSE_STEP_MAX_ATTEMPTS", default=3)
HEARTBEAT_SECONDS = env.int("RADFUSE_HEARTBEAT_SECONDS", default=5)
ORPHAN_SECONDS = env.int("RADFUSE_ORPHAN_SECONDS", default=25)
"""A running step without a heartbeat for this long is given back to the queue."""
SWEEP_SECONDS = env.int("RADFUSE_SWEEP_SECONDS", default=5)

# --- reading ----------------------------------------------------------------------------------
TARGET_MINUTES = {
    1: env.int("RADFUSE_TARGET_STAT_MINUTES", default=60),
    2: env.int("RADFUSE_TARGET_URGENT_MINUTES", default=4 * 60),
    3: env.int("RADFUSE_TARGET_ROUTINE_MINUTES", default=24 * 60),
}
"""By priority: within how long of its first image a case should be signed; 0: no target."""

# --- Django -----------------------------------------------------------------------------------
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "axes",
    "channels",
    "corsheaders",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_filters",
    "django_htmx",
    "django_vite",
    "workstation",
    "workstation.accounts",
    "workstation.receiving",
    "workstation.worklist",
    "workstation.analyzing",
    "workstation.reading",
    "workstation.reporting",
    "workstation.exporting",
    "workstation.auditing",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "workstation.accounts.language.Language",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "workstation.accounts.middleware.SignInRequired",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "workstation.urls"
ASGI_APPLICATION = "workstation.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "workstation.accounts.context.product",
            ],
        },
    }
]
DATABASES = {"default": env.db_url("RADFUSE_DATABASE_URL")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    # A server that vanished from the network is given up within half a minute; the system's own
    # limits are a quarter of an hour and more, in which open sockets would get no image.
    # What the URL says (``?connect_timeout=5``) goes first.
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": 10,
        "tcp_user_timeout": 30_000,
        "keepalives_idle": 20,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        **DATABASES["default"].get("OPTIONS", {}),
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
AXES_FAILURE_LIMIT = 8
AXES_COOLOFF_TIME = 0.25
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_TEMPLATE = "accounts/locked.html"
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
# A refused signature is counted with its form, but never with its text.
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "text", "seen"]
LOGIN_URL = "accounts:sign-in"
LOGIN_REDIRECT_URL = "worklist:list"
LOGOUT_REDIRECT_URL = "accounts:sign-in"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
LOCALE_PATHS = [BASE_DIR / "workstation" / "locale"]
TIME_ZONE = env.str("RADFUSE_TIME_ZONE", default="UTC")
USE_I18N = True
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = RADFUSE_HOME / "static"
FRONTEND_DIST = BASE_DIR / "frontend" / "dist"
STATICFILES_DIRS = [("viewer", FRONTEND_DIST)] if FRONTEND_DIST.is_dir() else []
DJANGO_VITE = {
    "default": {
        "manifest_path": FRONTEND_DIST / "manifest.json",
        "static_url_prefix": "viewer",
    }
}
S3_BUCKET = env.str("RADFUSE_S3_BUCKET", default="")
"""Archive and quarantine lie in this bucket of an S3-compatible store; empty: in local folders."""
_S3 = {
    "bucket_name": S3_BUCKET,
    "endpoint_url": env.str("RADFUSE_S3_ENDPOINT", default="") or None,
    "region_name": env.str("RADFUSE_S3_REGION", default="us-east-1"),
    "access_key": env.str("RADFUSE_S3_ACCESS_KEY", default="") or None,
    "secret_key": env.str("RADFUSE_S3_SECRET_KEY", default="") or None,
    "file_overwrite": True,
    "default_acl": None,
}
ARCHIVE_CACHE_BYTES = env.int("RADFUSE_ARCHIVE_CACHE_BYTES", default=50 * 1024**3)
"""Local copies of a bucket's files are kept up to this size."""
_BUCKET = "workstation.receiving.buckets.BucketStore"
_FOLDER = "workstation.receiving.stores.LocalStore"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "archive": (
        {"BACKEND": _BUCKET, "OPTIONS": {**_S3, "location": "archive"}}
        if S3_BUCKET
        else {"BACKEND": _FOLDER, "OPTIONS": {"setting": "ARCHIVE_DIR"}}
    ),
    "quarantine": (
        {"BACKEND": _BUCKET, "OPTIONS": {**_S3, "location": "quarantine"}}
        if S3_BUCKET
        else {"BACKEND": _FOLDER, "OPTIONS": {"setting": "QUARANTINE_DIR"}}
    ),
    # Vite already hashes file names; WhiteNoise serves them compressed and cached for good.
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
# Beside the archive, not in /tmp: a study can be larger than memory.
FILE_UPLOAD_TEMP_DIR = UPLOADS_DIR
FILE_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024**2
DATA_UPLOAD_MAX_NUMBER_FILES = 20_000
DATA_UPLOAD_MAX_NUMBER_FIELDS = 40_000

# --- broker and sockets -----------------------------------------------------------------------
BROKER_URL = env.str("RADFUSE_BROKER_URL")
CHANNEL_LAYERS = {
    "default": {
        # pubsub: open sockets survive a restart of the broker (deploy/DECISIONS.md).
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [BROKER_URL]},
    }
}

# --- browser security -------------------------------------------------------------------------
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = env.int("RADFUSE_SESSION_SECONDS", default=8 * 3600)
SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        # The zstd decoder of the slice stream is WebAssembly carried in a data: URL.
        "connect-src": ["'self'", "data:"],
        "img-src": ["'self'", "blob:", "data:"],
        "script-src": ["'self'", "'wasm-unsafe-eval'"],
        # Cornerstone sets inline styles on its canvases.
        "style-src": ["'self'", "'unsafe-inline'"],
        "worker-src": ["'self'", "blob:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

# --- other origins: DICOMweb only, by token, never with the session's cookie ------------------
CORS_ALLOWED_ORIGINS = DICOMWEB_ORIGINS
CORS_URLS_REGEX = r"^/dicomweb/"
CORS_ALLOW_CREDENTIALS = False
CORS_ALLOW_METHODS = ["GET", "POST", "OPTIONS"]
CORS_EXPOSE_HEADERS = ["Content-Type", "Warning"]

# --- REST -------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["workstation.accounts.permissions.HasPermission"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
    "PAGE_SIZE": 50,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Radfuse",
    "VERSION": "0.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    # Scripts and styles of the page that shows the description: our own copies.
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

# --- logs: never patient data -----------------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "workstation.logs.WithoutValues",
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.str("RADFUSE_LOG_LEVEL", default="INFO")},
    "loggers": {
        # Their INFO lines print identifiers and dataset contents.
        "botocore": {"level": "ERROR"},
        "boto3": {"level": "ERROR"},
        "s3transfer": {"level": "ERROR"},
        "pynetdicom": {"level": "ERROR"},
        "pydicom": {"level": "ERROR"},
        "highdicom": {"level": "ERROR"},
        "axes": {"level": "ERROR"},
        "weasyprint": {"level": "ERROR"},
        "fontTools": {"level": "ERROR"},
        "uvicorn.access": {"level": "WARNING"},
        # Errors in sockets are reported here; its own handler would print their messages.
        "uvicorn": {"handlers": ["stderr"], "propagate": False},
    },
}
