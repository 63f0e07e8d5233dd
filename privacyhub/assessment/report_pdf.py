"""A report as PDF, by WeasyPrint: no script runs and nothing is fetched.

WeasyPrint needs system libraries. Where they are missing everything else works, and
`render` raises PdfMissing, which names the packages.
"""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from privacyhub.assessment.models import Report
from privacyhub.assessment.report_fields import shown
from privacyhub.assessment.report_svg import line_chart

try:
    from weasyprint import CSS, HTML
    from weasyprint.urls import URLFetcher
except OSError:  # its shared libraries are not on this machine
    CSS = HTML = URLFetcher = None

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


def is_available() -> bool:
    return HTML is not None


def render(report: Report) -> bytes:
    """The PDF of the report's frozen content and its signature."""
    if HTML is None:
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
    nothing = URLFetcher(allowed_protocols=())
    document = HTML(string=page, url_fetcher=nothing)
    style = CSS(string=_STYLE.read_text(encoding="utf-8"), url_fetcher=nothing)
    written: bytes = document.write_pdf(stylesheets=[style])
    return written
