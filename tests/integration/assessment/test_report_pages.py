"""Reports over REST and in the browser: PDF, JSON, signature, who may see them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import OpenerDirector

import pytest
from django.urls import reverse

from privacyhub.assessment import pdf_writer, report_pdf, reports
from privacyhub.assessment.models import Report
from privacyhub.governance import grants
from privacyhub.governance.models import AuditEvent, Right

WITHOUT_LIBRARIES = """
import django
django.setup()
from privacyhub import urls
from privacyhub.assessment import report_pdf
import cffi, ctypes
def refuse(*args, **kwargs):
    raise OSError("cannot load library")
ctypes.CDLL = cffi.FFI.dlopen = refuse
from privacyhub.assessment import pdf_writer
assert pdf_writer.HTML is None
assert not report_pdf.is_available()
try:
    report_pdf.render(None)
except report_pdf.PdfMissing as error:
    print(error)
"""


@pytest.fixture
def report(model_version: Any, steward: Any) -> Report:
    return reports.create(by=steward, model_version=model_version)


@pytest.fixture
def pdf_libraries() -> None:
    if report_pdf.is_available():
        return
    if os.environ.get("CI") == "true":
        pytest.fail(report_pdf.MISSING)
    pytest.skip(report_pdf.MISSING)


def test_rest_makes_reads_and_signs(
    model_version: Any, steward: Any, auditor: Any, api_for: Any
) -> None:
    body = {"model_version": str(model_version.pk)}
    made = api_for(steward).post("/api/v1/reports/", body)
    assert made.status_code == 201, made.content
    where = f"/api/v1/reports/{made.json()['id']}/"
    told = api_for(auditor).get(where).json()
    assert told["intact"] is True
    assert told["content"]["figures"]["epsilon"] == "1"
    assert api_for(steward).post(f"{where}sign/").status_code == 403
    signed = api_for(auditor).post(f"{where}sign/")
    assert signed.json()["signed_by"] == "auditor"
    again = api_for(auditor).post(f"{where}sign/")
    assert (again.status_code, again.json()["code"]) == (409, "signed")
    listed = api_for(steward).get("/api/v1/reports/", {"signed": "true"}).json()
    assert [one["id"] for one in listed["results"]] == [told["id"]]


def test_rest_needs_one_subject(steward: Any, api_for: Any) -> None:
    answer = api_for(steward).post("/api/v1/reports/", {})
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("who", ["analyst", "other_steward", "admin"])
def test_foreign_report_is_not_found(
    report: Report, who: str, request: Any, api_for: Any, client_for: Any
) -> None:
    user = request.getfixturevalue(who)
    api, client = api_for(user), client_for(user)
    for path in ("", "pdf/"):
        assert api.get(f"/api/v1/reports/{report.pk}/{path}").status_code == 404
    assert api.post(f"/api/v1/reports/{report.pk}/sign/").status_code == 404
    assert api.get("/api/v1/reports/").json()["results"] == []
    for name in ("report", "report_pdf", "report_json"):
        assert client.get(reverse(f"web:{name}", args=[report.pk])).status_code == 404
    assert client.post(reverse("web:report_sign", args=[report.pk])).status_code == 404


def test_analyst_cannot_make_a_report(
    model_version: Any, analyst: Any, steward: Any, api_for: Any, client_for: Any
) -> None:
    grants.give(target=model_version.model, right=Right.USE, by=steward, user=analyst)
    body = {"model_version": str(model_version.pk)}
    assert api_for(analyst).post("/api/v1/reports/", body).status_code == 403
    page = reverse("web:report_create_model", args=[model_version.pk])
    assert client_for(analyst).post(page).status_code == 403
    assert not Report.objects.exists()


def test_report_is_shared_over_rest(
    report: Report, steward: Any, analyst: Any, api_for: Any
) -> None:
    where = f"/api/v1/reports/{report.pk}/"
    unknown = api_for(steward).post(f"{where}share/", {"user": "nobody"})
    assert (unknown.status_code, unknown.json()["code"]) == (400, "no_user")
    given = api_for(steward).post(f"{where}share/", {"user": "analyst"})
    assert given.status_code == 201
    assert api_for(analyst).get(where).status_code == 200
    assert api_for(analyst).post(f"{where}share/", {"user": "other"}).status_code == 403


def test_page_shows_sections_and_sources(
    report: Report, steward: Any, client_for: Any
) -> None:
    page = client_for(steward).get(reverse("web:report", args=[report.pk]))
    text = page.content.decode()
    assert page.status_code == 200
    for section in report.content["sections"]:
        assert section["title"] in text
    assert "not known" in text
    assert "<li>Exact metrics, which stay with stewards.</li>" in text
    assert "&#x27;value&#x27;" not in text
    assert report.sha256 in text
    assert "ROC curve" in text
    listed = client_for(steward).get(reverse("web:reports")).content.decode()
    assert report.title in listed


def test_empty_list_says_what_to_do(steward: Any, client_for: Any) -> None:
    text = client_for(steward).get(reverse("web:reports")).content.decode()
    assert "No report yet" in text


def test_download_of_the_json_has_the_hash(
    report: Report, steward: Any, client_for: Any
) -> None:
    answer = client_for(steward).get(reverse("web:report_json", args=[report.pk]))
    assert hashlib.sha256(answer.content).hexdigest() == report.sha256
    assert json.loads(answer.content) == report.content
    assert AuditEvent.objects.filter(action="report.download").count() == 1


def test_page_signs_for_auditors(report: Report, auditor: Any, client_for: Any) -> None:
    client = client_for(auditor)
    where = reverse("web:report", args=[report.pk])
    assert "Sign this report?" in client.get(where).content.decode()
    client.post(reverse("web:report_sign", args=[report.pk]))
    report.refresh_from_db()
    assert report.signed_by == auditor
    assert "Sign this report?" not in client.get(where).content.decode()


@pytest.mark.usefixtures("pdf_libraries")
def test_pdf_is_rendered_with_its_charts(
    report: Report, steward: Any, api_for: Any, tmp_path: Path
) -> None:
    answer = api_for(steward).get(f"/api/v1/reports/{report.pk}/pdf/")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/pdf"
    assert answer.content.startswith(b"%PDF-")
    assert len(answer.content) > 20_000
    drawn = report_pdf.line_chart(report.content["charts"]["roc"], title="ROC")
    assert drawn.count("<polyline") == 1


@pytest.mark.usefixtures("pdf_libraries")
def test_pdf_fetches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    monkeypatch.setattr(
        OpenerDirector, "open", lambda self, url, *_, **__: opened.append(url)
    )
    page = (
        '<img src="file:///etc/passwd"><img src="https://example.org/a.png">'
        '<img src="a.png"><link rel="stylesheet" href="https://example.org/a.css">'
    )
    assert pdf_writer.write(html=page, css="").startswith(b"%PDF-")
    assert opened == []


def test_without_libraries_only_the_pdf_is_missing(
    report: Report,
    steward: Any,
    api_for: Any,
    client_for: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(report_pdf, "is_available", lambda: False)
    answer = api_for(steward).get(f"/api/v1/reports/{report.pk}/pdf/")
    assert (answer.status_code, answer.json()["code"]) == (503, "pdf_missing")
    assert "apt-get install libpango-1.0-0" in answer.json()["title"]
    client = client_for(steward)
    page = client.get(reverse("web:report", args=[report.pk])).content.decode()
    assert "libharfbuzz-subset0" in page
    assert reverse("web:report_pdf", args=[report.pk]) not in page
    page_pdf = client.get(reverse("web:report_pdf", args=[report.pk]))
    assert page_pdf.status_code == 503


def test_hidden_libraries_are_told_at_import(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PRIVACYHUB_VAR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "privacyhub.settings",
    }
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_LIBRARIES],
        env=environment,
        cwd=Path(__file__).resolve().parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "apt-get install libpango-1.0-0 libpangoft2-1.0-0" in done.stdout
