"""A report as PDF, made by WeasyPrint in a process of its own (see `pdf_writer`).

WeasyPrint needs system libraries. Where they are missing everything else works, and
`render` raises PdfMissing, which names the packages.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from privacyhub.assessment.models import Report
from privacyhub.assessment.report_fields import shown
from privacyhub.assessment.report_svg import line_chart

LIBRARIES = (
    "libgobject-2.0.so.0",
    "libpango-1.0.so.0",
    "libpangoft2-1.0.so.0",
    "libharfbuzz.so.0",
    "libharfbuzz-subset.so.0",
    "libfontconfig.so.1",
)
MISSING_LIBRARIES = 3  # the exit code of `pdf_writer`
WITHIN = 120.0  # seconds for one report
PACKAGES = "apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
MISSING = f"PDF needs system libraries: {PACKAGES}"
CHART_TITLES = {
    "odds": "Epsilon in odds",
    "roc": "ROC curve, released",
}
_STYLE = Path(settings.BASE_DIR) / "static" / "hub" / "report-pdf.css"


class PdfMissing(Exception):
    """WeasyPrint's system libraries are not installed; the text says which."""

    def __init__(self) -> None:
        super().__init__(MISSING)


@lru_cache(maxsize=1)
def is_available() -> bool:
    """Whether the libraries that WeasyPrint loads are on this machine."""
    try:
        for name in LIBRARIES:
            ctypes.CDLL(name)
    except OSError:
        return False
    return True


def render(report: Report) -> bytes:
    """The PDF of the report's frozen content and its signature."""
    if not is_available():
        raise PdfMissing
    charts = report.content.get("charts") or {}
    drawn = [
        {
            "title": CHART_TITLES[name],
            # Made here from numbers and escaped text.
            "svg": SafeString(line_chart(charts[name], title=CHART_TITLES[name])),  # noqa: S308
        }
        for name in CHART_TITLES
        if name in charts
    ]
    page = render_to_string(
        "reports/pdf.html",
        {
            "report": report,
            "figures": report.content["figures"],
            "sections": shown(report.content),
            "charts": drawn,
        },
    )
    asked = {"html": page, "css": _STYLE.read_text(encoding="utf-8")}
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "privacyhub.assessment.pdf_writer"],
        input=json.dumps(asked).encode(),
        cwd=settings.BASE_DIR,
        capture_output=True,
        timeout=WITHIN,
        check=False,
    )
    if done.returncode == MISSING_LIBRARIES:
        raise PdfMissing
    done.check_returncode()
    return done.stdout
