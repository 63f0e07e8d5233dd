"""The Content Security Policy forbids inline code; the templates must not hold any."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TEMPLATES = Path(__file__).resolve().parents[3] / "templates"
INLINE = re.compile(
    r"<style|\sstyle=|\son[a-z]+=|\shx-on|javascript:|<script(?![^>]*\ssrc=)", re.I
)


@pytest.mark.parametrize(
    "path", sorted(TEMPLATES.rglob("*.html")), ids=lambda p: str(p.name)
)
def test_template_holds_nothing_inline(path: Path) -> None:
    found = INLINE.findall(path.read_text(encoding="utf-8"))
    assert not found
