"""Each job through a leap year of 53 weeks, by Berlin's clocks; `make chaos` runs it."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from celery import Celery
from support.old_records import MAKE, Depot, Record
from support.six_jobs import JOBS, PORTFOLIO, Job
from support.stack import Stack

from bionewsbot.runs.dispatch import start_runs
from bionewsbot.scheduling.calendar import occurrences
from bionewsbot.scheduling.entries import Entry
from bionewsbot.scheduling.timetable import load_timetable

BERLIN = ZoneInfo("Europe/Berlin")
MOMENT, HOUR, DAY = timedelta(microseconds=1), timedelta(hours=1), timedelta(days=1)


def berlin(day: str, hour: int = 0) -> datetime:
    """Return an hour of a day there; what is added to it is added to what the clocks show."""
    return datetime.fromisoformat(day).replace(hour=hour, tzinfo=BERLIN)


def utc(*times: str) -> list[datetime]:
    """Read times in UTC."""
    return [datetime.fromisoformat(f"{time}Z") for time in times]


DAYS = ("2020-02-29", "2020-03-29", "2020-10-25", "2020-12-31", "2021-01-01")
"""The leap day, the two on which the clocks change, and the year's end."""

SOME_DAYS = [(berlin(day), berlin(day) + DAY) for day in DAYS]
WHOLE_YEAR = [(berlin("2020-01-01"), berlin("2021-01-05"))]
"""And the Monday after it, whose report is about the 53rd week."""

DUE = {
    "daily_company_analysis": utc(
        *("2020-02-29T05:00", "2020-03-29T04:00", "2020-10-25T05:00"),
        *("2020-12-31T05:00", "2021-01-01T05:00"),
    ),
    # Each hour that passes: 24, 23, 25, 24 and 24.
    "hourly_quick_scan": [
        start.astimezone(UTC) + HOUR * number
        for start, end in SOME_DAYS
        for number in range((end.astimezone(UTC) - start.astimezone(UTC)) // HOUR)
    ],
    "weekly_comprehensive_report": [berlin("2020-01-06", 8) + 7 * DAY * week for week in range(53)],
    "data_cleanup": utc(
        *("2020-02-29T02:00", "2020-03-29T01:00", "2020-10-25T02:00"),
        *("2020-12-31T02:00", "2021-01-01T02:00"),
    ),
    "report_archival": [
        *(berlin(f"2020-{month:02}-01", 1) for month in range(1, 13)),
        berlin("2021-01-01", 1),
    ],
    # On Sundays at 02:00: skipped on the first of them, and there twice on the second.
    "database_optimisation": utc("2020-03-29T01:00", "2020-10-25T00:00"),
}

SPANS = {"weekly_comprehensive_report": WHOLE_YEAR, "report_archival": WHOLE_YEAR}

RETENTION = {"data_cleanup": 90 * DAY, "report_archival": 30 * DAY}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.entry)
def test_a_year(app: Celery, stack: Stack, depot: Depot, database_url: str, job: Job) -> None:
    """Each occurrence comes once, at its hour there, and is about its own time."""
    stack.backend(database_url)
    for company in PORTFOLIO:
        depot.client.put_company(company)
    due = [moment.astimezone(UTC) for moment in DUE[job.entry]]
    records = {name: at_the_cutoffs(name, due, RETENTION[job.entry]) for name in job.moves}
    for name, rows in records.items():
        depot.put(name, rows)

    entry = Entry(job.entry, replace(load_timetable(app)[job.entry], timezone=str(BERLIN)))
    found = [
        moment
        for start, end in SPANS.get(job.entry, SOME_DAYS)
        for moment in occurrences(
            entry.definition.schedule, BERLIN, *in_utc(start, end), limit=1000
        )
    ]
    assert found == due
    stack.worker(RETRY_CAP_SECONDS="1")
    opened = start_runs(app, stack.ledger, [entry.run_by_operator(app, at) for at in found])
    for one in opened:
        run = stack.wait_for_end(one.new.occurrence.run_id, seconds=500)
        assert (run.status, run.failed) == ("succeeded", 0)

    analysed = Counter((row["company_id"], row["scheduled_for"]) for row in stack.get("analyses"))
    if job.entry in ("daily_company_analysis", "hourly_quick_scan"):
        times = [moment.isoformat().replace("+00:00", "Z") for moment in due]
        assert analysed == {(company.id, time): 1 for company in PORTFOLIO for time in times}
    if job.entry == "weekly_comprehensive_report":
        periods = [row["period"] for row in stack.get("reports")]
        assert sorted(periods) == [f"2020-W{week:02}" for week in range(1, 54)]
    for name, rows in records.items():
        depot.holds_each_once(name, rows)
        # Only what was as old as the last cutoff, to the microsecond, is young.
        assert depot.stored(name) == rows[-1:]


def at_the_cutoffs(collection: str, due: list[datetime], retention: timedelta) -> list[Record]:
    """Return two records for each occurrence: one just old enough for it, one just too young."""
    times = [at for moment in due for at in (moment - retention - MOMENT, moment - retention)]
    return [MAKE[collection](number, at) for number, at in enumerate(times)]


def in_utc(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """Return what `occurrences` takes for a time with its start and without its end."""
    return (start - MOMENT).astimezone(UTC), (end - MOMENT).astimezone(UTC)
