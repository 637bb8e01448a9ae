"""A report as one HTML page that needs nothing from outside: styles and charts stand in it."""

from functools import lru_cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bionewsbot.reports import charts, words
from bionewsbot.reports.model import SEVERITIES, Report


def render_html(report: Report) -> str:
    """Return the report as HTML; what sources wrote is text in it, never markup."""
    style = files("bionewsbot.reports").joinpath("templates", "report.css")
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            words=words,
            severities=SEVERITIES,
            band_name=charts.band_name,
            style=Markup(style.read_text(encoding="utf-8")),
            distribution=Markup(charts.risk_distribution(report.risk.portfolio.distribution)),
            by_type=Markup(charts.insights_by_type(report.insights.by_type)),
            movers=Markup(charts.movers(report.risk.companies)),
        )
    )


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("bionewsbot.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
