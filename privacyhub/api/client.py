"""A small REST client: what a script needs, and what `make demo` uses.

hub = Client("http://127.0.0.1:8000", token="phub_…")
job = hub.post("datasets/", files={"file": ("t.csv", content)}, data={"name": "T"})
result = hub.wait(job)["result"]
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import requests

Watch = Callable[[requests.Response], None]


class Refused(Exception):
    """The hub said no; `problem` is its problem document."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(f"{status}: {problem.get('title', 'refused')}")
        self.status = status
        self.problem = problem


class JobEnded(Exception):
    """A job ended otherwise than asked for."""

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__(f"{job['title']}: {job['state']}. {job['message']}")
        self.job = job


class Client:
    """Calls under /api/v1/ with a bearer token; `watch` sees every answer."""

    def __init__(self, address: str, *, token: str, watch: Watch | None = None) -> None:
        self._base = f"{address}/api/v1/"
        self._watch = watch
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """The answer, or Refused for a status of 400 and above."""
        answer = self._session.request(
            method, self._base + path, timeout=300, **options
        )
        if self._watch:
            self._watch(answer)
        if answer.status_code >= 400:
            kind = answer.headers.get("Content-Type", "")
            raise Refused(answer.status_code, answer.json() if "json" in kind else {})
        return answer

    def get(self, path: str, **options: Any) -> Any:
        return self.call("GET", path, **options).json()

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        return self.call("POST", path, json=body, **options).json()

    def put(self, path: str, body: Any) -> Any:
        return self.call("PUT", path, json=body).json()

    def patch(self, path: str, body: Any) -> Any:
        return self.call("PATCH", path, json=body).json()

    def wait(
        self, job: dict[str, Any] | str, *, within: float = 600, every: float = 0.25
    ) -> dict[str, Any]:
        """The job once it has succeeded; JobEnded for any other end."""
        job_id = job if isinstance(job, str) else job["job"]
        until = time.monotonic() + within
        while time.monotonic() < until:
            told = self.get(f"jobs/{job_id}/")
            if told["state"] == "succeeded":
                return told
            if told["state"] in {"failed", "cancelled"}:
                raise JobEnded(told)
            time.sleep(every)
        raise TimeoutError(f"job {job_id} took longer than {within:.0f} s")
