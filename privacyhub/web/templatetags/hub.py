"""What the pages' templates say things with: badges and components.

Pure presentation; a builtin library, so templates need no `load`. The markup lies in
templates/components/.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from django import template
from django.forms import BoundField, widgets
from django.template.context import Context
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from . import formats, vocabulary
from .figure_tables import table_of
from .pipeline_layout import layout

register = template.Library()

SPRITE = "vendor/tabler-icons-3.51.0/icons.svg"

# Pages that lie below an entry of the navigation without having its address.
_BELOW = {
    "web:datasets": ("/versions/",),
    "web:anonymizations": ("/hierarchies/", "/policy-templates/"),
    "web:models": ("/model-versions/", "/sweeps/"),
    "web:settings": ("/users/", "/password/"),
}


@register.simple_tag
def localtime_tag(value: datetime | date | None, style: str = "datetime") -> SafeString:
    """A <time> in UTC that local-times.js turns into the viewer's zone.

    style: datetime, date, or relative ('3 minutes ago'). None prints 'never'.
    """
    if value is None:
        return format_html('<span class="{}">{}</span>', "text-secondary", "never")
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        moment = aware.astimezone(UTC)
        text = f"{moment:%d %b %Y, %H:%M} UTC"
        stamp = moment.isoformat()
    else:
        text, stamp, style = f"{value:%d %b %Y}", value.isoformat(), "day"
    return format_html(
        '<time datetime="{}" data-local="{}">{}</time>', stamp, style, text
    )


# Icons, badges


@register.simple_tag
def icon(name: str, label: str = "", css: str = "") -> SafeString:
    """An icon of the sprite: read aloud with a `label`, decoration without one."""
    spoken = (
        format_html('role="img" aria-label="{}"', label)
        if label
        else SafeString('aria-hidden="true"')
    )
    return format_html(
        '<svg class="icon {}" width="20" height="20" {}><use href="{}#{}"></use></svg>',
        css,
        spoken,
        static(SPRITE),
        name,
    )


def _badge(*, word: vocabulary.Word, kind: str) -> SafeString:
    return format_html(
        '<span class="hub-badge hub-{}-{}" title="{}">{}{}</span>',
        kind,
        word.tone,
        word.hint,
        icon(word.icon) if word.icon else "",
        word.text,
    )


@register.simple_tag
def state_badge(state: object) -> SafeString:
    """The state of a job, reservation, feedback, draft...: colour, icon and word."""
    return _badge(word=vocabulary.state(str(state)), kind="tone")


@register.simple_tag
def column_role(role: object) -> SafeString:
    """The role of a column; roles are read by their word, the colour only helps."""
    return _badge(word=vocabulary.column_role(str(role)), kind="role")


@register.simple_tag
def user_role(role: object) -> SafeString:
    """The role of a user."""
    return format_html(
        '<span class="hub-badge hub-tone-neutral">{}</span>', str(role).capitalize()
    )


@register.simple_tag
def guarantee_badge(read_class: object) -> SafeString:
    """covered (dp), not_covered (uncovered_release) or steward_only."""
    return _badge(word=vocabulary.guarantee(str(read_class)), kind="tone")


# Navigation


@register.simple_tag(takes_context=True)
def nav_item(context: Context, name: str, text: str, symbol: str) -> SafeString:
    """A link of the navigation; nothing where the page does not exist."""
    try:
        url = reverse(name)
    except NoReverseMatch:
        return SafeString("")
    request = context.get("request")
    path = request.path if request else ""
    below = () if name == "web:home" else (url, *_BELOW.get(name, ()))
    here = path == url or path.startswith(below)
    return format_html(
        '<li><a class="hub-nav-link" href="{}"{}>{}<span>{}</span></a></li>',
        url,
        SafeString(' aria-current="page"') if here else "",
        icon(symbol),
        text,
    )


@register.simple_tag
def auth_url(name: str) -> str:
    """The address of one of Django's account pages, under `web:` or without it."""
    for candidate in (f"web:{name}", name):
        try:
            return reverse(candidate)
        except NoReverseMatch:
            continue
    return ""


# Components that compute something


@register.simple_tag
def progress(done: object, total: object, label: str = "Progress") -> SafeString:
    """A <progress>; without a total it is indeterminate."""
    part = formats.share(part=done, whole=total)
    known = formats.decimal_of(total)
    return render_to_string(
        "components/progress.html",
        {"label": label, "percent": round(part * 100) if known else None},
    )


@register.simple_tag
def budget_bar(
    spent: object, reserved: object, cap: object, compact: bool = False
) -> SafeString:
    """Spent, reserved and left of a cap; numbers, Decimals or decimal strings."""
    whole = formats.decimal_of(cap) or 0
    used = formats.decimal_of(spent) or 0
    held = formats.decimal_of(reserved) or 0
    spent_share = formats.share(part=used, whole=whole)
    held_share = min(formats.share(part=held, whole=whole), 1 - spent_share)
    left = max(whole - used - held, 0)
    return render_to_string(
        "components/budget_bar.html",
        {
            "spent": used,
            "reserved": held,
            "cap": whole,
            "left": left,
            "spent_width": f"{spent_share * 1000:.1f}",
            "reserved_x": f"{spent_share * 1000:.1f}",
            "reserved_width": f"{held_share * 1000:.1f}",
            "level": vocabulary.budget_level(left=left, cap=whole),
            "compact": compact,
        },
    )


@register.simple_tag
def odds_line(
    epsilon: object, delta: object = None, unit: str = "one record"
) -> SafeString:
    """Epsilon explained in odds, as one sentence."""
    return render_to_string(
        "components/odds.html", {"epsilon": epsilon, "delta": delta, "unit": unit}
    )


@register.simple_tag
def chart(
    figure: Mapping[str, Any],
    id: str,  # noqa: A002 - reads as the attribute that it becomes
    title: str,
    summary: str = "",
    size: str = "",
) -> SafeString:
    """A figure with its table. size: '', 'sm' or 'lg'; `id` unique on the page."""
    return render_to_string(
        "components/chart.html",
        {
            "figure": figure,
            "id": id,
            "title": title,
            "summary": summary,
            "size": size,
            "table": table_of(figure),
        },
    )


@register.simple_tag
def pipeline(
    nodes: Sequence[Mapping[str, Any]],
    edges: Iterable[tuple[str, str]],
    label: str = "Pipeline of the family",
) -> SafeString:
    """The graph version -> runs -> models -> reports -> feedback, with links."""
    return render_to_string(
        "components/pipeline.html",
        {"layout": layout(nodes=nodes, edges=edges), "label": label},
    )


_WIDGET_CLASSES: tuple[tuple[type[widgets.Widget], str], ...] = (
    (widgets.CheckboxInput, "form-check-input"),
    (widgets.RadioSelect, ""),
    (widgets.CheckboxSelectMultiple, ""),
    (widgets.Select, "form-select"),
)


def _widget_class(widget: widgets.Widget) -> str:
    for kind, css in _WIDGET_CLASSES:
        if isinstance(widget, kind):
            return css
    return "form-control"


@register.simple_tag
def field(
    bound: BoundField, hint: str = "", prefix: str = "", suffix: str = ""
) -> SafeString:
    """A field: label, input, help, errors; prefix and suffix stand beside the input."""
    widget = bound.field.widget
    known = bound.id_for_label or bound.auto_id
    choices = isinstance(widget, widgets.RadioSelect | widgets.CheckboxSelectMultiple)
    help_text = hint or bound.help_text
    described = [f"{known}_help"] if help_text else []
    described += [f"{known}_error"] if bound.errors else []
    css = f"{_widget_class(widget)} {widget.attrs.get('class', '')}".strip()
    attrs = {"class": f"{css} is-invalid" if bound.errors else css}
    if described:
        attrs["aria-describedby"] = " ".join(described)
    return render_to_string(
        "components/field.html",
        {
            "field": bound,
            "id": known,
            "control": "" if choices else bound.as_widget(attrs=attrs),
            "options": list(bound) if choices else [],
            "option_type": "radio"
            if isinstance(widget, widgets.RadioSelect)
            else "checkbox",
            "is_checkbox": isinstance(widget, widgets.CheckboxInput),
            "help_text": help_text,
            "prefix": prefix,
            "suffix": suffix,
        },
    )


# Components around content


@register.simple_block_tag
def page_header(
    content: str, title: str, subtitle: str = "", badge: str = ""
) -> SafeString:
    """The head of a page; what stands inside are its buttons."""
    return render_to_string(
        "components/page_header.html",
        {"content": content, "title": title, "subtitle": subtitle, "badge": badge},
    )


@register.simple_block_tag
def card(
    content: str,
    title: str = "",
    subtitle: str = "",
    symbol: str = "",
    id: str = "",  # noqa: A002 - reads as the attribute that it becomes
    flush: bool = False,
    css: str = "",
) -> SafeString:
    """A card around what stands inside; flush leaves the padding out, for tables."""
    return render_to_string(
        "components/card.html",
        {
            "content": content,
            "title": title,
            "subtitle": subtitle,
            "symbol": symbol,
            "id": id,
            "flush": flush,
            "css": css,
        },
    )


@register.simple_block_tag
def datatable(content: str, caption: str, css: str = "") -> SafeString:
    """A table around <thead> and <tbody>: scrolls sideways, has a spoken caption."""
    return render_to_string(
        "components/table.html", {"content": content, "caption": caption, "css": css}
    )


@register.simple_block_tag
def dialog(content: str, id: str, title: str) -> SafeString:  # noqa: A002
    """A <dialog> that any `data-dialog-open="id"` button opens."""
    return render_to_string(
        "components/dialog.html", {"content": content, "id": id, "title": title}
    )


@register.simple_block_tag
def code_block(content: str, label: str = "Code") -> SafeString:
    """Code that can be copied; write it inside without indentation."""
    return render_to_string(
        "components/code.html",
        {"content": SafeString(content.strip("\n")), "label": label},
    )
