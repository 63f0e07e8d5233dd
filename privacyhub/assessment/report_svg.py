"""Line charts as SVG for the PDF, where no script runs.

Takes the same figures as the pages' charts (kind "line"). Colours are attributes, so
that the picture needs no stylesheet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape, quoteattr

WIDTH, HEIGHT = 460, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 12, 44
_INK, _MUTED, _LINE, _BRAND, _MARK = (
    "#10212b",
    "#51626d",
    "#d8e0e4",
    "#0b6170",
    "#c2570c",
)
_TICKS = 5


@dataclass(frozen=True)
class _Scale:
    """Data to picture coordinates on one axis."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        part = (value - self.low) / (self.high - self.low)
        return self.start + min(1.0, max(0.0, part)) * (self.end - self.start)


def line_chart(figure: Mapping[str, Any], *, title: str) -> str:
    """The figure as one <svg>. `title` is read aloud."""
    x = _Scale(*_range(figure["x"]), _LEFT, WIDTH - _RIGHT)
    y = _Scale(*_range(figure["y"]), HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img" aria-label={quoteattr(title)}>',
        *_axis_x(figure["x"], x),
        *_axis_y(figure["y"], y),
    ]
    if figure.get("diagonal"):
        parts.append(
            f'<path d="M{x(x.low):.1f} {y(y.low):.1f}L{x(x.high):.1f} {y(y.high):.1f}" '
            f'stroke="{_MUTED}" stroke-dasharray="4 3" fill="none"/>'
        )
    parts += [_curve(series, x, y) for series in figure["series"]]
    for mark in figure.get("marks", []):
        parts += _mark(mark, x, y)
    return "".join([*parts, "</svg>"])


def _range(axis: Mapping[str, Any]) -> tuple[float, float]:
    low, high = axis["range"]
    return float(low), float(high)


def _ticks(scale: _Scale) -> Sequence[float]:
    """About five round numbers, from the low end on."""
    span = scale.high - scale.low
    power = 10.0 ** math.floor(math.log10(span / _TICKS))
    step = next(n * power for n in (1, 2, 2.5, 5, 10) if n * power * _TICKS >= span)
    return [scale.low + step * i for i in range(int(span / step + 1e-9) + 1)]


def _label(axis: Mapping[str, Any], value: float) -> str:
    return f"{value:.0%}" if axis.get("percent") else f"{value:g}"


def _axis_x(axis: Mapping[str, Any], x: _Scale) -> list[str]:
    base = HEIGHT - _BOTTOM
    parts = [
        _text(x(tick), base + 16, _label(axis, tick), anchor="middle")
        for tick in _ticks(x)
    ]
    parts.append(_rule(x.start, base, x.end, base, _MUTED))
    middle = (x.start + x.end) / 2
    return [*parts, _text(middle, HEIGHT - 8, axis["title"], anchor="middle")]


def _axis_y(axis: Mapping[str, Any], y: _Scale) -> list[str]:
    parts = []
    for tick in _ticks(y):
        parts.append(_rule(_LEFT, y(tick), WIDTH - _RIGHT, y(tick), _LINE))
        parts.append(_text(_LEFT - 6, y(tick) + 4, _label(axis, tick), anchor="end"))
    middle = (y.start + y.end) / 2
    turn = f' transform="rotate(-90 14 {middle:.1f})"'
    return [*parts, _text(14, middle, axis["title"], anchor="middle", more=turn)]


def _curve(series: Mapping[str, Any], x: _Scale, y: _Scale) -> str:
    points = " ".join(
        f"{x(float(across)):.1f},{y(float(up)):.1f}"
        for across, up in zip(series["x"], series["y"], strict=True)
    )
    return (
        f'<polyline points="{points}" fill="none" stroke="{_BRAND}" stroke-width="2"/>'
    )


def _mark(mark: Mapping[str, Any], x: _Scale, y: _Scale) -> list[str]:
    across, up = x(float(mark["x"])), y(float(mark["y"]))
    return [
        f'<circle cx="{across:.1f}" cy="{up:.1f}" r="4.5" fill="{_MARK}"/>',
        _text(across + 9, up + 14, str(mark["label"]), colour=_INK),
    ]


def _rule(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{colour}"/>'


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    colour: str = _MUTED,
    more: str = "",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="11" font-family="sans-serif" '
        f'fill="{colour}" text-anchor="{anchor}"{more}>{escape(text)}</text>'
    )
