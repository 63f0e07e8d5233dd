"""Each dependency is pinned with hashes and really imports; a clean resolver is not
enough to know that."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

MODULES = {
    "django": "django",
    "djangorestframework": "rest_framework",
    "drf-spectacular": "drf_spectacular",
    "django-csp": "csp",
    "whitenoise": "whitenoise",
    "gunicorn": "gunicorn",
    "celery": "celery",
    "prometheus-client": "prometheus_client",
    "redis": "redis",
    "psycopg": "psycopg",
    "requests": "requests",
    "polars": "polars",
    "pyarrow": "pyarrow.parquet.encryption",
    "numpy": "numpy",
    "scipy": "scipy.stats",
    "cryptography": "cryptography",
    "tensorflow": "tensorflow",
    "tf-keras": "tf_keras",
    "tensorflow-privacy": (
        "tensorflow_privacy.privacy.fast_gradient_clipping.layer_registry"
    ),
    "dp-accounting": "dp_accounting.pld",
    "opendp": "opendp.prelude",
    "scikit-learn": "sklearn.linear_model",
    "safetensors": "safetensors.numpy",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "weasyprint": "weasyprint",
}


def wanted(file: str = "requirements") -> list[str]:
    lines = (REPOSITORY / f"{file}.in").read_text().splitlines()
    names = [re.split(r"[\[<>=~]", line)[0] for line in lines if line[:1].isalpha()]
    return [name for name in names if name]


def test_each_wanted_dependency_has_a_module_to_import() -> None:
    assert set(wanted()) == set(MODULES)


@pytest.mark.parametrize("file", ["requirements", "requirements-peers"])
def test_requirements_pin_each_package_with_hashes(file: str) -> None:
    text = (REPOSITORY / f"{file}.txt").read_text()
    blocks = re.findall(
        r"^([a-z0-9.-]+)==\S+ \\\n((?:    --hash=\S+.*\n)+)", text, re.M
    )
    pinned = {name for name, _ in blocks}
    assert pinned == set(re.findall(r"^([a-z0-9.-]+)==", text, re.M))
    assert set(wanted(file)) <= pinned
    assert "://" not in text  # each finds packages where its machine does


@pytest.mark.parametrize("of_tensorflow", [True, False])
def test_dependencies_import(of_tensorflow: bool) -> None:
    modules = [
        module
        for name, module in MODULES.items()
        if name.startswith(("tensorflow", "tf-")) == of_tensorflow
    ]
    lines = ["import os, sys", "os.environ['TF_USE_LEGACY_KERAS'] = '1'"]
    lines.append("sys.skip_tf_privacy_import = True")
    lines += [f"import {module}" for module in modules]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
