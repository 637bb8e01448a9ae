"""Markdown and HTML of a report, also of texts that would like to be markup."""

import re
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from support.stack import ROOT
from support.weeks import HOSTILE, alert, full_report, insight, report, risk, section

from bionewsbot.reports import charts, rules, words
from bionewsbot.reports.assemble import MAX_AHEAD
from bionewsbot.reports.model import Gap, Report
from bionewsbot.reports.render_html import render_html
from bionewsbot.reports.render_markdown import escape, render_markdown
from bionewsbot.reports.section import MAX_STORIES

VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """What a browser would make of a page, as far as these tests ask."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag that ends itself."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Check that what ends is what is open."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data

    def all(self, *names: str) -> list[dict[str, str | None]]:
        """Return the attributes of the tags with these names."""
        return [attrs for tag, attrs in self.tags if tag in names]


@pytest.fixture(scope="module")
def page() -> Page:
    """The page of a report in which every part has something."""
    return Page(render_html(full_report()))


@pytest.mark.parametrize("made", [full_report(), report()], ids=["full", "empty"])
def test_a_page_needs_nothing_from_outside(made: Report) -> None:
    """No script, no style, font or picture of elsewhere, and the same page each time."""
    text = render_html(made)
    assert text == render_html(made)
    page = Page(text)
    assert not page.all("script", "link", "img", "iframe", "object", "use", "image")
    assert not re.search(r"@import|url\(|\son\w+=", text)
    links = [attrs["href"] or "" for attrs in page.all("a")]
    assert all(re.match(r"#|https?://", href) for href in links)


def test_what_sources_write_is_text(page: Page) -> None:
    """A script in a title is shown as it was written, and no attribute is broken out of."""
    assert page.text.count("<script>alert(1)</script>") >= 5
    assert not page.all("script")
    assert {tag for tag, _ in page.tags} <= {
        *("html", "head", "meta", "title", "style", "body", "header", "nav", "main", "section"),
        *("h1", "h2", "h3", "p", "ul", "ol", "li", "a", "strong", "span", "br", "div"),
        *("table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "figcaption"),
        *("svg", "g", "defs", "title", "rect", "path", "line", "text", "desc", "circle"),
    }


def test_a_page_is_accessible(page: Page) -> None:
    """Language, one h1, no level of heading left out, tables with captions and scopes, charts."""
    assert page.all("html") == [{"lang": "en"}]
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert len(page.all("caption")) == len(page.all("table")) > 5
    assert all(attrs.get("scope") in ("row", "col") for attrs in page.all("th"))
    groups = [attrs for attrs in page.all("div") if attrs.get("role") == "group"]
    assert len(groups) == len(page.all("table"))
    assert all(attrs["aria-label"] and attrs["tabindex"] == "0" for attrs in groups)
    drawings = page.all("svg")
    assert len(drawings) == 3
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in drawings)
    named = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {attrs["href"] for attrs in page.all("a") if (attrs["href"] or "")[0] == "#"} <= {
        f"#{name}" for name in named
    }


def luminance(colour: str) -> float:
    """Return a colour's relative luminance (WCAG 2.2)."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_letters_stand_out_from_the_page() -> None:
    """Contrast of at least 4.5 for text and 3 for bars (WCAG AA)."""
    style = (Path(charts.__file__).parent / "templates" / "report.css").read_text(encoding="utf-8")
    texts = re.findall(r"(?<![-\w])color: (#[0-9a-f]{6})", style)
    assert len(texts) >= 8
    for colour, least in [
        *((colour, 4.5) for colour in texts),
        *((colour, 3) for colour in (*charts.COLOURS.values(), charts.NOW, charts.UP, charts.DOWN)),
    ]:
        assert 1.05 / (luminance(colour) + 0.05) >= least, colour


def test_charts_have_their_numbers_and_escape_their_names() -> None:
    """As SVG that an XML parser reads, with a title that says what it shows."""
    made = full_report()
    drawing = charts.movers(made.risk.companies)
    root = ElementTree.fromstring(drawing)
    title = root.find("{http://www.w3.org/2000/svg}title")
    assert title is not None and "changes of risk" in (title.text or "")
    texts = {element.text for element in root.iter() if element.text}
    assert "Gilead <script>aler…" in texts and "PFE Inc." in texts
    assert not [e for e in root.iter() if isinstance(e.tag, str) and e.tag.endswith("script")]
    assert "nothing to show" in charts.movers(report().risk.companies)


def test_drawing_leaves_the_imports_of_others_alone() -> None:
    """Pygal's finder, which has no `find_spec`, is gone."""
    assert all(hasattr(finder, "find_spec") for finder in sys.meta_path)


def test_markdown_of_every_part() -> None:
    """Headings in order, a table row for each thing, links to the sources."""
    text = render_markdown(full_report())
    headings = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert headings == [
        *("Executive summary", "Recommendations", "Risk", "Alerts", "Insights", "Activity"),
        *("Dates ahead", "Sources that failed"),
    ]
    assert "(<https://example.test/GILD/1>) (critical, negative, its alert is open; " in text
    assert "| a | 1 of 1 | 1 | a is down |" in text
    assert "| PFE Inc. | 40 (a source failed) | 45 | -5 | – |" in text
    assert "5 of 8 are shown." in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    columns = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
    assert set(columns) == {3 + 1, 4 + 1, 5 + 1, 6 + 1, 8 + 1, 2 + 1}


def test_titles_beside_a_company_leave_its_name_out() -> None:
    """Where they begin with it: in what is read first, in tables, in what drove a risk."""
    told = [insight(1, title="GILD Inc.: trial stopped"), insight(2, title="GILD Inc. grows")]
    points = [risk(1, 60, [("story-1", 10)]), risk(-1, 50)]
    made = report(section(insights=told, risk=points))
    markdown, html = render_markdown(made), render_html(made)
    assert "GILD Inc.: trial" not in html and "| [trial stopped]" in markdown
    assert "GILD Inc.: [trial stopped]" in markdown and "[trial stopped (+10)]" in markdown
    assert "GILD Inc. grows" in markdown and "GILD Inc. grows" in html


def test_no_change_has_no_sign() -> None:
    """A rounded loss of nothing neither."""
    assert [words.signed(change) for change in (0.0, -0.0, None, 2, -1.5)] == [
        *("0", "0", "–", "+2", "-1.5")
    ]


def test_markdown_of_an_empty_portfolio() -> None:
    """Each part says that there is nothing."""
    text = render_markdown(report())
    for said in (
        "There is no active company.",
        "Nothing: there was no insight in this week.",
        "None: no rule applies.",
        "No company has a score in this week.",
        "None known: no insight of 2026-W04 names a later date.",
        "None in the analyses of this week.",
    ):
        assert said in text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("<script>alert(1)</script>", r"\<script\>alert(1)\</script\>"),
        ("[a](javascript:x)", r"\[a\](javascript:x)"),
        ("a | b", r"a \| b"),
        ("`c` *d* _e_ ~f~ &lt;", r"\`c\` \*d\* \_e\_ \~f\~ \&lt;"),
        ("\\[a](b)", r"\\\[a\](b)"),
        ("# no heading\n# at all", r"\# no heading # at all"),
        ("- x", r"\- x"),
        ("1. x", r"1\. x"),
        ("10-K of Gilead", "10-K of Gilead"),
        ("see HTTPS://evil.test and www.evil.test", r"see HTTPS\://evil.test and www\.evil.test"),
    ],
)
def test_markdown_escapes(text: str, escaped: str) -> None:
    """Markup, HTML, tables, entities, headings, lists, and addresses that would become links."""
    assert escape(text) == escaped


@pytest.mark.parametrize(
    "name",
    [
        "A|B *bold* _it_ `code` ~~gone~~",
        "<script>alert(1)</script><img src=x onerror=y>",
        "A\n\n# heading\n| cell |\n---",
        "[a](javascript:x) ![b](https://evil.test) <https://evil.test> &amp; \\| end\\",
        "1. Roche - + # & Co.",
        "> quoted",
    ],
)
def test_names_read_as_they_are_by_a_markdown_reader(name: str) -> None:
    """As the text of a cell, a list, a link: no markup, no HTML, no link but that of its source."""
    company = section("X", name=name, insights=[insight(1, "X", title=name)], risk=[risk(1, 90)])
    gap = Gap(company_id="Y", name=name, reason=name)
    text = render_markdown(report(company, gaps=(gap,)))
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    cells = [
        "".join(part.content for part in inner.children or ())
        for before, inner in pairwise(tokens)
        if before.type in ("td_open", "th_open")
    ]
    shown = " ".join(name.split())
    # Its gap's name and reason, its risk, its insight's company and title, and what it has most of.
    assert cells.count(shown) == 6
    inside = [part for token in tokens for part in token.children or ()]
    assert {part.type for part in inside} <= {
        *("text", "text_special", "link_open", "link_close", "em_open", "em_close")
    }
    assert {part.attrGet("href") for part in inside if part.type == "link_open"} == {
        "https://example.test/X/1"
    }
    assert not [token for token in tokens if token.type == "html_block"]
    assert {token.tag for token in tokens if token.type == "heading_open"} == {"h1", "h2", "h3"}


def test_hostile_titles_make_no_markdown() -> None:
    """Not one of its marks is left unescaped."""
    text = render_markdown(full_report())
    assert HOSTILE[:8] not in text and escape(HOSTILE) in text
    assert not re.search(r"(?<!\\)<(?!https://example\.test)", text)
    assert not re.search(r"(?<!\\)\]\((?!<https://example\.test)", text)


def test_what_is_open_from_before_stands_apart() -> None:
    """With its day, so that its age is seen."""
    old = alert(1, title="Old news", occurred_at="2025-12-01T00:00:00Z", severity="high")
    made = report(section(open_before=[old]))
    title = "Still open from before this week"
    markdown = render_markdown(made).partition(f"### {title}")[2]
    assert "| GILD Inc. | high | neutral | [Old news]" in markdown and "| 2025-12-01 |" in markdown
    html = Page(render_html(made)).text.partition(title)[2]
    assert "Old news" in html and "2025-12-01" in html
    assert title not in render_markdown(report(section()))
    assert title not in render_html(report(section()))


def test_each_recommendation_names_its_rule() -> None:
    """As docs/report.md does, so that a reader can look up why."""
    documented = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    markdown, html = render_markdown(full_report()), Page(render_html(full_report())).text
    found = [one.rule for one in full_report().recommendations]
    assert len(found) == len(rules.RULES)
    for rule in found:
        assert f"Rule: {rule}" in markdown and f"Rule: {rule}" in html
        assert f"| `{rule}` |" in documented


def test_a_first_week_compares_nothing() -> None:
    """Where no company had a score before, no change is told and none is drawn."""
    first = report(section(risk=[risk(1, 85)]))
    html, markdown = render_html(first), render_markdown(first)
    for text in (html, markdown):
        assert "Mean 85, median 85 over 1 company; no score the week before." in text
    assert "Largest changes of risk" not in html
    assert "Largest changes of risk" in render_html(full_report())


def test_many_gaps_are_counted() -> None:
    """A backend that was down for all would fill the summary with them."""
    gaps = tuple(Gap(company_id=f"C{n}", name=f"Company {n}", reason="no") for n in range(23))
    said = "3 more companies stand in the JSON of this report."
    for text in (render_markdown(report(gaps=gaps)), render_html(report(gaps=gaps))):
        assert said in text and "Company 22" in text and "Company 9" not in text


def test_counts_have_a_scale_of_whole_numbers() -> None:
    """However few there are."""
    bands = report(section(risk=[risk(1, 50)])).risk.portfolio.distribution
    root = ElementTree.fromstring(charts.risk_distribution(bands))
    told = {one.text or "" for one in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {text for text in told if re.fullmatch("[0-9.]+", text)} == {"0", "1"}


def test_long_tables_say_what_they_leave_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The JSON has all."""
    monkeypatch.setattr(words, "MOST_COMPANIES", 2)
    made = report(*(section(name, insights=[insight(1, name)]) for name in "ABCDE"))
    said = "3 more companies stand in the JSON of this report."
    assert said in render_markdown(made) and said in render_html(made)
    assert "C Inc." not in render_markdown(made).partition("## Insights")[2].partition("##")[0]


def test_dates_ahead_say_that_they_are_the_nearest() -> None:
    """What lies beyond the bounds is left out of the report itself, of the JSON too."""
    said = f"The nearest ones: up to {MAX_STORIES} of each company, {MAX_AHEAD} in all."
    assert said in render_markdown(full_report()) and said in render_html(full_report())
    described = Report.model_json_schema()["properties"]["ahead"]["description"]
    assert f"five of each company, and {MAX_AHEAD} in all" in described


def test_a_sources_error_is_not_called_the_last() -> None:
    """Over the portfolio it is one of many."""
    for text in (render_markdown(full_report()), render_html(full_report())):
        assert "An error" in text and "Last error" not in text
