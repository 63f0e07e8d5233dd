"""What is written down: ids on every line, and never a cell value."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jobs import execution
from jobs.models import Job
from privacyhub import logs

CANARY = "canary-4711"


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """The lines that the hub has written so far, as a machine reads them."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonLines())
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    finally:
        root.removeHandler(handler)


def test_a_request_has_an_id_on_its_answer_and_lines(
    steward: Any, client_for: Any, lines: Any
) -> None:
    answer = client_for(steward).get(
        f"/search/?q={CANARY}", headers={"X-Request-ID": "proxy-1.2_3"}
    )
    assert answer["X-Request-ID"] == "proxy-1.2_3"
    (line,) = [line for line in lines() if line.get("route") == "web:search"]
    assert (line["request"], line["status"]) == ("proxy-1.2_3", 200)
    assert CANARY not in json.dumps(lines())


@pytest.mark.parametrize("offered", ["", "x" * 65, "two words", "line\tfeed", "é"])
def test_an_id_that_is_none_is_replaced(client: Any, db: None, offered: str) -> None:
    answer = client.get("/healthz", headers={"X-Request-ID": offered})
    assert answer["X-Request-ID"] != offered
    assert len(answer["X-Request-ID"]) == 32


def test_lines_of_a_job_carry_its_id_and_that_of_its_request(
    steward: Any, api_for: Any, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warn(attempt: Any) -> Any:
        logging.getLogger("somewhere").warning("half way")
        return dict

    monkeypatch.setattr("jobs.tasks.nothing.run", warn)
    api = api_for(steward)
    answer = api.post(
        "/api/v1/jobs/", {"kind": "nothing"}, headers={"X-Request-ID": "asked-1"}
    )
    job_id = answer.json()["job"]
    execution.execute(job_id)
    written = [line for line in lines() if line.get("job") == job_id]
    assert [line["message"] for line in written] == ["began", "half way", "succeeded"]
    assert {line["request"] for line in written} == {"asked-1"}


def test_a_bug_is_told_without_what_it_quotes(
    submit: Callable[..., Job], lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(attempt: Any) -> Any:
        try:
            int(CANARY)
        except ValueError as error:
            raise RuntimeError(f"could not read {CANARY}") from error

    monkeypatch.setattr("jobs.tasks.nothing.run", bug)
    job = submit()
    execution.execute(str(job.pk))
    job.refresh_from_db()
    assert CANARY in job.trace
    (line,) = [line for line in lines() if line["level"] == "error"]
    assert line["error"] == "RuntimeError"
    assert "ValueError" in line["trace"]
    assert "test_logs.py" in line["trace"]
    assert CANARY not in json.dumps(lines())


def test_a_page_that_breaks_is_told_without_what_it_quotes(
    steward: Any, client_for: Any, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: Any) -> Any:
        raise ValueError(f"could not convert {CANARY}")

    monkeypatch.setattr("jobs.overview.overview", break_down)
    client = client_for(steward)
    client.raise_request_exception = False
    answer = client.get("/jobs/")
    assert answer.status_code == 500
    told = json.dumps(lines())
    assert "ValueError" in told
    assert CANARY not in told
    assert answer["X-Request-ID"] in told


def test_text_lines_carry_ids_too() -> None:
    record = logging.LogRecord("a", logging.INFO, "", 0, "said", None, None)
    line = logs.TextLines("%(message)s")
    with logs.of(request="r1", job="j1"):
        assert line.format(record) == "said [request=r1 job=j1]"
    assert line.format(record) == "said"
