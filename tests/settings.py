"""The hub's settings over a folder of the tests' own: none touches `var/`.

pytest-django reads settings before any conftest, so the folder is chosen here. A
process that a test starts inherits the marker and keeps the folder it was given.
"""

from __future__ import annotations

import os
import tempfile

if "PRIVACYHUB_TEST_VAR" not in os.environ:
    os.environ["PRIVACYHUB_VAR"] = tempfile.mkdtemp(prefix="privacyhub-test-")
    os.environ["PRIVACYHUB_TEST_VAR"] = os.environ["PRIVACYHUB_VAR"]

from privacyhub.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # tests only
# A test is one transaction, which may be idle for as long as a training computes.
DATABASES["default"].get("OPTIONS", {}).pop("options", None)  # noqa: F405
