"""Steward, analyst and auditor walk the main job in headless Chromium.

`sign_in` fails the test on any console message of a warning or worse, so a violation
of the content policy on any page of the walk is a failure.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from privacyhub.engines.tables import patient_register
from tests.functional.conftest import RunningHub

pytestmark = pytest.mark.browser
JOB_MS = 120_000
SignIn = Callable[..., Page]


@dataclass
class Walk:
    """Where the steward's walk led."""

    dataset: str = ""
    model_version: str = ""
    report: str = ""
    feedback: str = ""


@pytest.fixture(scope="module")
def walk() -> Walk:
    """Shared by the tests of this module, which run in order."""
    return Walk()


@pytest.fixture(scope="module")
def register(tmp_path_factory: pytest.TempPathFactory) -> Path:
    buffer = io.BytesIO()
    patient_register(rows=3_000, seed=11).write_csv(buffer)
    file = tmp_path_factory.mktemp("register") / "browser register.csv"
    file.write_bytes(buffer.getvalue())
    return file


def open_result(page: Page) -> None:
    """On a job's page: wait until it has succeeded, then follow its result."""
    page.wait_for_url(re.compile("/jobs/"))
    expect(page.locator("#job")).to_contain_text("Succeeded", timeout=JOB_MS)
    page.locator("#job .hub-head-actions a.btn-primary").click()
    page.wait_for_load_state()


def confirm(page: Page, name: str) -> None:
    page.locator("#hub-confirm").get_by_role("button", name=name, exact=True).click()


def test_steward_uploads_and_sets_roles(
    sign_in: SignIn, register: Path, walk: Walk
) -> None:
    page = sign_in("steward")
    page.goto("/datasets/upload/")
    page.set_input_files("input[type=file]", register)
    page.get_by_label("Name").fill("Register in the browser")
    page.get_by_role("button", name="Upload", exact=True).click()
    open_result(page)
    walk.dataset = re.sub(r"\?.*", "", page.url)
    expect(page.get_by_role("heading", level=1)).to_contain_text(
        "Register in the browser"
    )
    page.get_by_role("link", name="Columns and roles").click()
    expect(page.get_by_label("Role of email")).to_have_value("identifier")
    expect(page.get_by_label("Role of zip")).to_have_value("quasi_identifier")
    page.get_by_label("Target").select_option("readmitted")
    page.get_by_role("button", name="Save the columns").click()
    expect(page.get_by_label("Target")).to_have_value("readmitted")
    page.get_by_label("Number of units N").fill("3000")
    page.get_by_label("Cap on epsilon").fill("9")
    page.get_by_role("button", name="Declare the budget").click()
    page.goto(f"{walk.dataset}?tab=ledger")
    expect(page.locator("main")).to_contain_text("9.00")


def test_steward_anonymizes(sign_in: SignIn, walk: Walk) -> None:
    page = sign_in("steward")
    page.goto(walk.dataset)
    page.get_by_role("link", name="Anonymize", exact=True).first.click()
    page.get_by_role("button", name="Anonymize", exact=True).click()
    open_result(page)
    expect(page.locator("main")).to_contain_text("Risk of re-identification")
    page.get_by_role("button", name="Show rows").click()
    expect(page.locator("#rows table").first).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV", exact=True).click()
    lines = download.value.path().read_text().splitlines()
    assert len(lines) == 3_001
    assert "email" not in lines[0]


def test_steward_trains_a_model_and_reports(sign_in: SignIn, walk: Walk) -> None:
    page = sign_in("steward")
    page.goto(walk.dataset)
    page.get_by_role("link", name="Train", exact=True).first.click()
    # The latest version is the anonymized one: the upload is what is trained on.
    page.goto(f"{walk.dataset}?tab=versions")
    row = page.get_by_role("row").filter(has_text="Uploaded")
    row.get_by_role("link", name="Train").click()
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("Epsilon of the training").fill("3")
    expect(page.locator("#price")).to_contain_text("95.3 of 100", timeout=20_000)
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Train", exact=True).click()
    open_result(page)
    walk.model_version = page.url
    main = page.locator("main")
    expect(main).to_contain_text("Covered by the guarantee")
    page.wait_for_timeout(500)
    job_metrics = page.get_by_text("AUC", exact=True)
    for _ in range(JOB_MS // 1_000):
        if job_metrics.count():
            break
        page.wait_for_timeout(1_000)
        page.reload()
    expect(job_metrics.first).to_be_visible()
    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=15_000)
    page.get_by_role("button", name="Make a report").click()
    page.wait_for_url(re.compile("/reports/"))
    walk.report = page.url
    expect(page.locator("main")).to_contain_text("not known")


def test_steward_shares_the_model(sign_in: SignIn, walk: Walk) -> None:
    page = sign_in("steward")
    page.goto(walk.model_version)
    page.get_by_role("link", name="Share").click()
    page.get_by_role("button", name="Share", exact=True).first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("With").select_option(label="analyst (analyst, analyst)")
    dialog.get_by_label("Right").select_option("use")
    dialog.get_by_role("button", name="Share").click()
    expect(page.locator("main")).to_contain_text("may use it")


def test_analyst_predicts_and_gives_feedback(sign_in: SignIn, walk: Walk) -> None:
    page = sign_in("analyst")
    page.goto(walk.model_version)
    main = page.locator("main")
    expect(main).to_contain_text("Covered by the guarantee")
    expect(main).not_to_contain_text("Steward only")
    page.get_by_role("link", name="Predict").click()
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.locator("main")).to_contain_text(re.compile(r"[0-9a-f]{8}"))
    page.goto(walk.model_version)
    page.get_by_role("link", name="Give feedback").click()
    page.get_by_label("Rating of the model").select_option("2")
    page.get_by_label("Kind of problem").select_option("wrong")
    page.get_by_label("What you have seen").fill("Too many are called safe.")
    page.get_by_role("button", name="Send feedback").click()
    page.wait_for_url(re.compile("/feedback/[0-9a-f-]{36}/"))
    walk.feedback = page.url
    answer = page.request.get(walk.dataset)
    assert answer.status == 404


def test_steward_accepts_and_the_lineage_shows_it(sign_in: SignIn, walk: Walk) -> None:
    page = sign_in("steward")
    page.goto(walk.feedback)
    page.get_by_role("button", name="Accept and retrain").click()
    confirm(page, "Retrain")
    open_result(page)
    page.goto(walk.feedback)
    expect(page.locator("main")).to_contain_text("Accepted")
    page.goto(walk.dataset)
    expect(page.locator("main")).to_contain_text("retrain")


def test_auditor_reads_all_and_signs(sign_in: SignIn, walk: Walk) -> None:
    page = sign_in("auditor")
    page.goto(walk.report)
    page.get_by_role("button", name="Sign", exact=True).click()
    confirm(page, "Sign")
    expect(page.locator("main")).to_contain_text("Signed")
    page.goto("/ledgers/")
    page.get_by_role("link", name="Register in the browser").first.click()
    expect(page.locator("main")).to_contain_text("training")
    page.goto("/audit/")
    expect(page.locator("main")).to_contain_text("report.sign")
    page.goto(walk.dataset)
    expect(page.get_by_role("link", name="Train", exact=True)).to_have_count(0)


PAGES = {
    "steward": [
        "/",
        "/datasets/",
        "/datasets/upload/",
        "/models/",
        "/reports/",
        "/feedback/",
        "/jobs/",
        "/ledgers/",
        "/hierarchies/",
        "/settings/",
    ],
    "analyst": ["/", "/datasets/", "/models/", "/reports/", "/feedback/", "/settings/"],
    "auditor": ["/", "/datasets/", "/models/", "/jobs/", "/ledgers/", "/audit/"],
    "admin": ["/", "/users/", "/audit/", "/settings/"],
}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1440])
@pytest.mark.parametrize("role", sorted(PAGES))
def test_pages_fit_the_screen_without_complaint(
    sign_in: SignIn, walk: Walk, role: str, width: int, theme: str
) -> None:
    page = sign_in(role, viewport={"width": width, "height": 800}, color_scheme=theme)
    own = [walk.dataset, walk.model_version, walk.report]
    for url in [*PAGES[role], *(own if role in {"steward", "auditor"} else [])]:
        if not url:
            continue
        page.goto(url)
        page.wait_for_load_state("networkidle")
        wide = page.evaluate(
            "document.documentElement.scrollWidth"
            " - document.documentElement.clientWidth"
        )
        assert wide <= 0, f"{url} is {wide} px too wide"


def test_api_docs_page_loads_under_the_policy(sign_in: SignIn, hub: RunningHub) -> None:
    page = sign_in("steward")
    page.goto("/api/docs/")
    expect(page.locator("#swagger-ui .title").first).to_contain_text(
        "PrivacyHub", timeout=20_000
    )
