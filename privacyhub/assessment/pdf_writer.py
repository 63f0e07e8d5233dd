"""HTML in, PDF out, as a process of its own: `python -m …assessment.pdf_writer`.

WeasyPrint takes seconds to import and much memory for a long page, and needs system
libraries; none of that concerns the process that asks. No script runs, and nothing
is fetched. Standard input is JSON with `html` and `css`; the exit code is 3
where WeasyPrint does not find its libraries.
"""

from __future__ import annotations

import json
import sys

try:
    from weasyprint import CSS, HTML
    from weasyprint.urls import URLFetcher
except OSError:  # its shared libraries are not on this machine
    CSS = HTML = URLFetcher = None


def write(*, html: str, css: str) -> bytes:
    """The PDF of a page that stands alone."""
    nothing = URLFetcher(allowed_protocols=())
    style = CSS(string=css, url_fetcher=nothing)
    document = HTML(string=html, url_fetcher=nothing)
    written: bytes = document.write_pdf(stylesheets=[style])
    return written


if __name__ == "__main__":
    if HTML is None:
        sys.exit(3)
    sys.stdout.buffer.write(write(**json.load(sys.stdin.buffer)))
