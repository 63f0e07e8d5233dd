"""Every setting of the hub, in one place.

Variables of the environment (each secret may also come from a file, `NAME_FILE`):

| variable | default | meaning |
| --- | --- | --- |
| PRIVACYHUB_PRODUCTION | false | HTTPS only; secrets and services must be named |
| PRIVACYHUB_SECRET_KEY | made once in var/ | signs sessions and links |
| PRIVACYHUB_KEY_FILE | var/keys/instance.json | wraps data keys; back it up apart |
| PRIVACYHUB_HOSTS | localhost,127.0.0.1,[::1] | names under which the hub answers |
| PRIVACYHUB_VAR | var/ | encrypted tables, models, broker folder, database |
| PRIVACYHUB_PROXY | false | a proxy in front sets X-Forwarded-Proto |
| DATABASE_URL | SQLite in var/ | postgresql://user:password@host:port/name |
| REDIS_URL | folder in var/ | redis:// or rediss:// broker for the queue |
| PRIVACYHUB_DATABASE_PASSWORD | from the URL | password for DATABASE_URL |
| PRIVACYHUB_REDIS_PASSWORD | from the URL | password for REDIS_URL |
| PRIVACYHUB_SESSION_IDLE | 60 | minutes after which an unused session ends |
| PRIVACYHUB_AUDIT_HEADS | var/heads | signed heads; one folder, best on another disk |
| PRIVACYHUB_MAX_UPLOAD_MB | 2048 | largest upload |
| PRIVACYHUB_RISK_ROWS | 200000 | rows above which a risk report is made by a job |
| PRIVACYHUB_MAX_JOBS | 20 | queued or running jobs a user may have |
| PRIVACYHUB_MAX_RUNNING_JOBS | 4 | of these at once (fewer than workers' children) |
| PRIVACYHUB_JOB_LEASE | 60 | seconds after which a silent worker has lost its job |
| PRIVACYHUB_JOB_REAP | 5 | seconds between two looks for lost jobs |
| PRIVACYHUB_JOB_DRAIN | 15 | seconds a worker that is to stop lets jobs end |
| PRIVACYHUB_JOB_MAX_RUN | 43200 | seconds a worker may be at one job |
| PRIVACYHUB_JOB_MEMORY_MB | none | memory that a worker's child may take |
| PRIVACYHUB_LOG_FORMAT | text | or json: one object a line |
| PRIVACYHUB_METRICS_TOKEN | none | opens /metrics, beside auditors and admins |
| PRIVACYHUB_EMAIL_URL | console | smtp://user:password@host:port, for password resets |
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from csp.constants import NONE, SELF

from privacyhub import env

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(env.text("PRIVACYHUB_VAR", str(BASE_DIR / "var"))).resolve()
PRODUCTION = env.boolean("PRIVACYHUB_PRODUCTION")
VAR_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)

DEBUG = False
SECRET_KEY = env.secret(
    "PRIVACYHUB_SECRET_KEY", file=VAR_DIR / "keys" / "secret", required=PRODUCTION
)
ALLOWED_HOSTS = env.items("PRIVACYHUB_HOSTS", "localhost,127.0.0.1,[::1]")
KEY_FILE = Path(
    env.text("PRIVACYHUB_KEY_FILE", str(VAR_DIR / "keys" / "instance.json"))
)

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "jobs",
    "privacyhub.accounts",
    "privacyhub.governance",
    "privacyhub.datasets",
    "privacyhub.anonymization",
    "privacyhub.training",
    "privacyhub.assessment",
    "privacyhub.deployments",
    "privacyhub.feedback",
    "privacyhub.api",
    "privacyhub.web",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "privacyhub.web.request_ids.RequestIds",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "privacyhub.web.middleware.IdleSessions",
    "privacyhub.web.middleware.PrivateResponses",
    "privacyhub.web.middleware.RefusedAccess",
]

ROOT_URLCONF = "privacyhub.urls"
WSGI_APPLICATION = "privacyhub.wsgi.application"
ASGI_APPLICATION = "privacyhub.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": False,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "builtins": [
                "privacyhub.web.templatetags.hub",
                "privacyhub.web.templatetags.hub_filters",
            ],
            "loaders": [
                (
                    "django.template.loaders.cached.Loader",
                    [
                        "django.template.loaders.filesystem.Loader",
                        "django.template.loaders.app_directories.Loader",
                    ],
                )
            ],
        },
    }
]

DATABASES = {
    "default": env.database(
        "DATABASE_URL",
        default_file=VAR_DIR / "hub.sqlite3",
        password_name="PRIVACYHUB_DATABASE_PASSWORD",  # noqa: S106 - a variable's name
    )
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Accounts
AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "web:login"
LOGIN_REDIRECT_URL = "web:home"
LOGOUT_REDIRECT_URL = "web:login"
SESSION_COOKIE_AGE = int(timedelta(hours=12).total_seconds())
SESSION_IDLE = timedelta(minutes=env.integer("PRIVACYHUB_SESSION_IDLE", 60))
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
PASSWORD_RESET_TIMEOUT = int(timedelta(hours=24).total_seconds())
LOGIN_ATTEMPTS = 10  # failures an account or address may have in LOGIN_WINDOW
LOGIN_WINDOW = timedelta(minutes=15)

# Text, times, mail
LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
_mail = urlsplit(env.text("PRIVACYHUB_EMAIL_URL"))
EMAIL_BACKEND = (
    "django.core.mail.backends.smtp.EmailBackend"
    if _mail.scheme == "smtp"
    else "django.core.mail.backends.console.EmailBackend"
)
EMAIL_HOST, EMAIL_PORT = _mail.hostname or "", _mail.port or 587
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _mail.username or "", _mail.password or ""
EMAIL_USE_TLS = True

# Static files
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True

# Uploads go through an encrypting handler only: nothing spools plaintext.
MAX_UPLOAD_BYTES = env.integer("PRIVACYHUB_MAX_UPLOAD_MB", 2048) * 2**20
FILE_UPLOAD_HANDLERS = ["privacyhub.datasets.uploads.SealingUploadHandler"]
DATA_UPLOAD_MAX_MEMORY_SIZE = 8 * 2**20

# Signed heads of the audit trail and the ledgers, kept in a second place
AUDIT_HEADS_DIR = Path(env.text("PRIVACYHUB_AUDIT_HEADS", str(VAR_DIR / "heads")))
AUDIT_EXPORT_LINES = 100
AUDIT_EXPORT_EVERY = timedelta(minutes=10)

# Tables up to this size are looked at while a page waits for the figures.
RISK_REPORT_ROWS = env.integer("PRIVACYHUB_RISK_ROWS", 200_000)

# Queue
MAX_JOBS_PER_USER = env.integer("PRIVACYHUB_MAX_JOBS", 20)
MAX_RUNNING_JOBS_PER_USER = env.integer("PRIVACYHUB_MAX_RUNNING_JOBS", 4)
JOB_LEASE = timedelta(seconds=env.integer("PRIVACYHUB_JOB_LEASE", 60))
JOB_HEARTBEAT = JOB_LEASE / 4  # three may be missed
JOB_REAP_EVERY = timedelta(seconds=env.integer("PRIVACYHUB_JOB_REAP", 5))
JOB_REPUBLISH_AFTER = min(JOB_LEASE / 2, timedelta(seconds=30))
JOB_CANCEL_POLL = timedelta(seconds=1)
JOB_CANCEL_GRACE = timedelta(seconds=15)  # then the worker's child is ended
JOB_DRAIN = timedelta(seconds=env.integer("PRIVACYHUB_JOB_DRAIN", 15))
JOB_DRAIN_GRACE = timedelta(seconds=5)  # to stop, for what is given back
JOB_MAX_RUN_TIME = timedelta(seconds=env.integer("PRIVACYHUB_JOB_MAX_RUN", 43_200))
JOB_MEMORY_BYTES = env.integer("PRIVACYHUB_JOB_MEMORY_MB", 0) * 2**20
JOB_LOST_WORKERS_LIMIT = 3  # in a row
JOB_ATTEMPTS_LIMIT = 100  # however they ended
REDIS_URL = env.broker(
    "REDIS_URL",
    password_name="PRIVACYHUB_REDIS_PASSWORD",  # noqa: S106 - a variable's name
)
BROKER_DIR = VAR_DIR / "broker"

# Watching
METRICS_TOKEN = env.text("PRIVACYHUB_METRICS_TOKEN")

# Web
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if PRODUCTION:
    env.require("DATABASE_URL", "REDIS_URL")
    env.refuse("PRIVACYHUB_FAILPOINT")
    ALLOWED_HOSTS.append("127.0.0.1")  # the container's own health check
    SECURE_SSL_REDIRECT = True
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_HSTS_SECONDS = int(timedelta(days=365).total_seconds())
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
    SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
    CSRF_TRUSTED_ORIGINS = [f"https://{host}" for host in ALLOWED_HOSTS]
if env.boolean("PRIVACYHUB_PROXY"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# REST
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "privacyhub.api.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["privacyhub.api.permissions.ScopeAllows"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": [
        "privacyhub.api.parsing.JsonObject",
        "rest_framework.parsers.MultiPartParser",
    ],
    "DEFAULT_PAGINATION_CLASS": "privacyhub.api.pagination.Pages",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "privacyhub.api.problems.handle",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "PrivacyHub",
    "VERSION": "1",
    "DESCRIPTION": "Everything the browser can do, for scripts.",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "ColumnRole": "privacyhub.datasets.models.Role",
        "UserRole": "privacyhub.accounts.roles.Role",
        "RightToShare": ["view", "use"],
        "Right": "privacyhub.governance.models.Right",
    },
}

LOG_FORMAT = env.one_of("PRIVACYHUB_LOG_FORMAT", "text", "json")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {
            "()": "privacyhub.logs.TextLines",
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
        },
        "json": {"()": "privacyhub.logs.JsonLines"},
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}
    },
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        "weasyprint": {"level": "ERROR"},
        "kombu.connection": {"level": "ERROR"},  # a folder has no host name
        "celery": {"level": "WARNING"},
        # It quotes the address, which may hold what was searched; RequestIds logs too.
        "django.request": {"level": "ERROR"},
    },
}

# Celery. Without Redis its broker is a folder: it holds job ids, never data.
CELERY_BROKER_URL = REDIS_URL or "filesystem://"
if not REDIS_URL:
    CELERY_BROKER_TRANSPORT = "jobs.folder_broker:Transport"
    for _folder in ("messages", "control"):
        (BROKER_DIR / _folder).mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(BROKER_DIR / "messages"),
        "data_folder_out": str(BROKER_DIR / "messages"),
        "control_folder": str(BROKER_DIR / "control"),
        "polling_interval": 0.05,
    }
else:
    CELERY_BROKER_TRANSPORT = "jobs.redis_broker:Transport"
    # A broker that is away costs a request seconds, not minutes: the reaper sends later
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "socket_connect_timeout": 3,
        "socket_timeout": 30,
        "socket_keepalive": True,
        "health_check_interval": 30,
    }
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "light"
CELERY_TASK_CREATE_MISSING_QUEUES = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# The worker itself never loads TensorFlow, which is not safe to fork once used. A child
# that has loaded it serves the next job sooner; it is replaced when it has grown.
CELERY_WORKER_MAX_TASKS_PER_CHILD = 1_000
CELERY_WORKER_MAX_MEMORY_PER_CHILD = 2_000_000  # kB
# Seconds until the slot of a child that was killed is free: no result is waited for.
CELERY_WORKER_LOST_WAIT = 1.0
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # a worker waits for its broker for ever
CELERY_TIMEZONE = "UTC"
CELERY_ENABLE_UTC = True
