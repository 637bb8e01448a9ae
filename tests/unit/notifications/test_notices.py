"""Notices: what they say, and that one event has one id."""

from typing import Any

import pytest
from support import answers

from bionewsbot.api.models import Analysis, NewAlert
from bionewsbot.api.shared_circuit import Change
from bionewsbot.dead_letters.letters import Letter, Story
from bionewsbot.notifications.notices import (
    ENTRY,
    MAX_BODY,
    MAX_TITLE,
    Notice,
    of_alert,
    of_letters,
    of_opening,
    of_report,
)


def alert(**changes: Any) -> NewAlert:
    """Return an alert as an analysis finds it."""
    analysis = Analysis.model_validate(answers.analysis(findings=[answers.finding(**changes)]))
    return NewAlert.of(analysis, analysis.findings[0])


def letter(at: float, why: str = "the error is permanent", **changes: Any) -> Letter:
    """Return a dead letter of a company's analysis."""
    story = Story(1, at, why, "BackendRefused: 404", None, "w@here", 1, 1, 0, (), None)
    given: dict[str, Any] = {
        "id": f"{at:.0f}",
        "state": "dead",
        "run_id": "daily_company_analysis@2026-01-15T06:00:00Z",
        "target": "GILD",
        "entry": "daily_company_analysis",
        "task": "bionewsbot.analyze_company",
        "queue": "default",
        "kwargs": {"company_id": "GILD"},
        "first_at": at,
        "last_at": at,
        "stories": (story,),
    }
    return Letter(**{**given, **changes})


def test_an_alert() -> None:
    """Company and severity stand in the title, the source's link in the body."""
    notice = of_alert(alert(description="Item 8.01"))
    assert notice.title == "GILD: Form 8-K (medium, neutral)"
    assert notice.body.splitlines() == [
        "Item 8.01",
        "https://www.sec.gov/Archives/edgar/data/882095/000088209526000003/",
        "2026-01-14 21:05 UTC, replay",
    ]
    assert (notice.company, notice.severity) == ("GILD", "medium")


def test_alerts_of_one_story_are_one_event() -> None:
    """Told in other words it is the same; another story or another type is not."""
    first = of_alert(alert())
    assert of_alert(alert(title="Other words", severity="high", source="sec")).id == first.id
    assert of_alert(alert(story_id="sec:2")).id != first.id
    assert of_alert(alert(type="trial")).id != first.id


def test_a_report() -> None:
    """Written a second time it is the same event."""
    notice = of_report("2026-W03", "22 companies")
    assert notice.title == "Report 2026-W03 is ready"
    assert of_report("2026-W03", "23 companies").id == notice.id != of_report("2026-W04", "").id


def test_letters_are_one_event_for_each_cause_and_hour() -> None:
    """Two causes in one hour and one in the next are three, however many letters they have."""
    hour = 1_768_456_800.0
    again = "all 8 attempts are used up"
    notices = of_letters(
        [*(letter(hour + second) for second in range(50)), letter(hour, again), letter(hour + 3600)]
    )
    assert len({notice.id for notice in notices}) == len(notices) == 3
    assert notices[0].title == "Dead letters of analyze_company: the error is permanent"
    assert notices[0].body.startswith("50 so far")
    assert of_letters([letter(hour + 3599)])[0].id == notices[0].id


def test_a_letter_of_a_channel_is_not_told_by_it() -> None:
    """It names the channel, and each channel's failure is an event of its own."""
    task = {"entry": ENTRY, "task": "bionewsbot.send_notice"}
    one, two = of_letters(
        [letter(0.0, **task, kwargs={"channel": name, "notice": {}}) for name in ("team", "ops")]
    )
    assert (one.not_by, two.not_by) == ("team", "ops")
    assert one.title == "Dead letters of send_notice by team: the error is permanent"


def test_an_opening_of_the_breaker() -> None:
    """One event for each opening, with its reason."""
    notice = of_opening(Change(7.5, "closed", "open", "5 failures in a row", "host:1"))
    assert notice.id == "breaker_open/7.5"
    assert notice.body.startswith("5 failures in a row (host:1)")


@pytest.mark.parametrize("text", ["short", "x" * 5000])
def test_a_notice_is_bounded_and_comes_back_whole(text: str) -> None:
    """However long a source's text is, and through JSON."""
    notice = Notice("1", "run_failed", text, text)
    assert len(notice.title) <= MAX_TITLE and len(notice.body) <= MAX_BODY
    assert Notice.from_dict(notice.as_dict()) == notice
