"""The charts of a report as SVG to stand inside HTML: no script, no address outside, no date.

By pygal, which is small and pure Python. What it would add of its own (a script for tooltips, the
day on which it ran) is taken out, so that the same report gives the same page.
"""

import sys
from collections.abc import Sequence
from typing import Any

import pygal
from pygal.style import Style

from bionewsbot.api.models import Severity
from bionewsbot.reports.model import SEVERITIES, Band, CompanyRisk, TypeCount

# For plugins that we don't have, pygal puts a finder of an old kind into the imports of the whole
# process, of which Python 3.11 warns at every import and which later ones pass over.
sys.meta_path[:] = [one for one in sys.meta_path if not isinstance(one, pygal.PluginImportFixer)]

WIDTH, HEIGHT = 480, 320
"""Of the drawing, which is scaled to the page; its letters stay readable on a phone."""

MOST_TYPES = 8
MOST_MOVERS = 10
"""Bars that a chart has at most; the tables have the rest."""

COLOURS: dict[Severity, str] = {
    "critical": "#7f1d1d",
    "high": "#c2410c",
    "medium": "#b58900",
    "low": "#5b7083",
}
"""Of decreasing darkness, so that they differ in grey, too."""

NOW, BEFORE = "#1d4e89", "#9db4c8"
UP, DOWN = "#b3261e", "#1b6e4b"

_LABEL = 20
"""Characters of a name on an axis."""


def risk_distribution(bands: Sequence[Band]) -> str:
    """Draw how many companies have which risk, beside the week before."""
    chart = _chart(pygal.Bar, "risk-distribution", (NOW, BEFORE))
    chart.x_labels = [band_name(band) for band in bands]
    chart.add("this week", [band.companies for band in bands])
    chart.add("the week before", [band.previous for band in bands])
    return _draw(chart, "Companies by risk score, this week and the week before")


def insights_by_type(types: Sequence[TypeCount]) -> str:
    """Draw how many insights there were of each type, by severity."""
    shown = types[:MOST_TYPES]
    colours = tuple(COLOURS[severity] for severity in SEVERITIES)
    chart = _chart(pygal.StackedBar, "insights-by-type", colours, horizontal=True)
    # The first bar of a horizontal chart is at the bottom.
    chart.x_labels = [_short(one.type) for one in reversed(shown)]
    for severity in SEVERITIES:
        chart.add(severity, [one.by_severity.get(severity) or None for one in reversed(shown)])
    return _draw(chart, "Insights by type and severity")


def movers(companies: Sequence[CompanyRisk]) -> str:
    """Draw the largest changes of risk."""
    shown = [one for one in companies if one.risk.change][:MOST_MOVERS]
    chart = _chart(pygal.StackedBar, "movers", (UP, DOWN), horizontal=True)
    chart.x_labels = [_short(one.name) for one in reversed(shown)]
    changes = [one.risk.change or 0.0 for one in reversed(shown)]
    chart.add("risk up", [change if change > 0 else None for change in changes])
    chart.add("risk down", [change if change < 0 else None for change in changes])
    return _draw(chart, "The largest changes of risk against the week before, in points")


def band_name(band: Band) -> str:
    """Return a band's bounds in words, such as `20 to 40`."""
    if band.low is None:
        return f"below {band.high:g}"
    return f"{band.low:g} and up" if band.high is None else f"{band.low:g} to {band.high:g}"


def _chart(kind: Any, name: str, colours: Sequence[str], *, horizontal: bool = False) -> Any:
    style = Style(
        background="transparent",
        plot_background="transparent",
        font_family="system-ui, sans-serif",
        colors=tuple(colours),
        value_colors=("#1f2933",) * len(colours),
        opacity="1",
        opacity_hover="1",
        label_font_size=13,
        major_label_font_size=13,
        legend_font_size=13,
        value_font_size=13,
        no_data_font_size=20,
        guide_stroke_color="#c5cfd8",
        major_guide_stroke_color="#c5cfd8",
    )
    made = (
        (pygal.HorizontalStackedBar if kind is pygal.StackedBar else kind) if horizontal else kind
    )
    chart = made(
        style=style,
        width=WIDTH,
        height=HEIGHT,
        js=(),
        legend_at_bottom=True,
        legend_at_bottom_columns=2,
        truncate_legend=-1,
        max_scale=8,
        # Whole numbers on the scale: there is no half company.
        order_min=0,
        legend_box_size=12,
        no_data_text="nothing to show",
        disable_xml_declaration=True,
        truncate_label=-1,
        margin=8,
        # The legend at the bottom is drawn below what is reserved for it.
        margin_bottom=32,
    )
    # Else a random one, of which the names of its styles are made.
    chart.uuid = name
    return chart


def _draw(chart: Any, title: str) -> str:
    def tidy(root: Any) -> Any:
        for parent in root.iter():
            for child in list(parent):
                # A comment's tag is no text.
                if not isinstance(child.tag, str) or child.tag.endswith("script"):
                    parent.remove(child)
        root.find("title").text = title
        root.set("role", "img")
        root.set("aria-label", title)
        return root

    chart.add_xml_filter(tidy)
    return str(chart.render(is_unicode=True))


def _short(name: str) -> str:
    return name if len(name) <= _LABEL else name[: _LABEL - 1] + "…"
