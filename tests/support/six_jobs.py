"""The six jobs over one small portfolio, and what each leaves behind, whatever befell it."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter

import pytest
from sqlalchemy import Executable, delete, insert, text
from support.old_records import MAKE, Depot, Record, around, insight_at
from support.stack import Stack

from bionewsbot.api.models import AnalysisType
from bionewsbot.archive.parts import TIME_FIELDS
from bionewsbot.backend.storage import tables
from bionewsbot.backend.storage.database import Database
from bionewsbot.companies import Company
from bionewsbot.dead_letters.letters import Letters
from bionewsbot.reports.model import Report
from bionewsbot.runs.model import Run
from bionewsbot.tasks.analysis import DAILY, QUICK_SCAN
from bionewsbot.tasks.archival import CLEANED
from bionewsbot.tasks.upkeep import STEPS

CUTOFFS = {name: datetime.fromisoformat("2025-12-02T03:00:00Z") for name in CLEANED}
CUTOFFS["reports"] = datetime.fromisoformat("2025-12-02T01:00:00Z")
"""What was stored before is old for the occurrences below."""

DEAD_ROWS = 500
"""Enough for a vacuum of both databases, also beside 2,000 rows."""

REGENXBIO = "0001590877"
"""About it the replayed sources know something of every kind."""

PORTFOLIO = (
    Company(id="GILD", name="Gilead Sciences", priority="high"),
    Company(id="RGNX", name="REGENXBIO", cik=REGENXBIO, priority="high"),
    Company(id="QUIET", name="Of which nobody knows anything", priority="high"),
)

Past = Mapping[str, Sequence[Record]]
"""The records of each collection that were there before."""

PAST: Past = {name: around(name, cutoff, old=7, young=5) for name, cutoff in CUTOFFS.items()}
"""Of Gilead."""


class World:
    """A stack with a portfolio and a past, and what a job must have left of both."""

    def __init__(
        self,
        stack: Stack,
        depot: Depot,
        database_url: str,
        portfolio: Sequence[Company] = PORTFOLIO,
        past: Past = PAST,
    ) -> None:
        self.stack = stack
        self.depot = depot
        self.portfolio = portfolio
        self.past = past
        self.is_sqlite = database_url.startswith("sqlite")
        self._database_url = database_url

    def begin(self) -> None:
        """Start the backend; bring portfolio and past to it."""
        self.stack.backend(self._database_url)
        self._found()
        for name, rows in self.past.items():
            self.depot.bring(name, rows)
        self._wear_out()

    def check(self, job: "Job", run: Run) -> None:
        """Check that all of the job was done, each effect stands once, and nothing else changed."""
        assert (run.status, run.failed) == ("succeeded", 0), self.stack.targets(run.run_id)
        assert Letters(self.stack.ledger._redis).find() == []
        moved = 0
        for name, rows in self.past.items():
            ids = {row["id"] for row in rows}
            old = {row["id"] for row in rows if name in job.moves and _is_old(name, row)}
            stored = [row for row in self.depot.stored(name) if row["id"] in ids]
            assert _sorted(self.depot.archived(name)) == _sorted(rows, ids=old)
            assert _sorted(stored) == _sorted(rows, ids=ids - old)
            moved += len(old)
        assert run.totals.get("archived", 0) == moved
        job.check(self, run)

    def added(self, name: str) -> list[Record]:
        """Return what the backend has of a collection beside the past."""
        ids = {row["id"] for row in self.past[name]}
        return [row for row in self.depot.stored(name) if row["id"] not in ids]

    def _found(self) -> None:
        """Write the companies, past the API, which takes one a call."""
        at = {"created_at": CUTOFFS["insights"], "updated_at": CUTOFFS["insights"]}
        rows = [{**company.model_dump(), **at} for company in self.portfolio]
        self._write(insert(tables.companies).values(rows))

    def _wear_out(self) -> None:
        """Leave the database with dead rows, and PostgreSQL with an index that is broken."""
        company, when, long = self.portfolio[0].id, CUTOFFS["insights"], "x" * 5_000
        numbers = range(10**6, 10**6 + DEAD_ROWS)
        self.depot.bring(
            "insights",
            [insight_at(one, when, company_id=company, description=long) for one in numbers],
        )
        gone = delete(tables.insights).where(tables.insights.c.description == long)
        self._write(*(() if self.is_sqlite else _BREAK_AN_INDEX), gone)

    def _write(self, *statements: Executable) -> None:
        # PostgreSQL counts what is dead when this connection is closed, unlike the backend's.
        database = Database(self._database_url)
        with database.write() as connection:
            for statement in statements:
                connection.execute(statement)
        database.close()


_BREAK_AN_INDEX = (
    # Its own vacuum might come first.
    text("ALTER TABLE insights SET (autovacuum_enabled = false)"),
    text("CREATE INDEX ix_alerts_state_ccnew ON alerts (state)"),
    text(
        "UPDATE pg_index SET indisvalid = false "
        "WHERE indexrelid = 'ix_alerts_state_ccnew'::regclass"
    ),
)


def _is_old(name: str, row: Record) -> bool:
    return datetime.fromisoformat(row[TIME_FIELDS[name]]) < CUTOFFS[name]


def _sorted(rows: Iterable[Record], *, ids: Collection[str] | None = None) -> list[Record]:
    chosen = [row for row in rows if ids is None or row["id"] in ids]
    return sorted(chosen, key=itemgetter("id"))


@pytest.fixture
def world(stack: Stack, depot: Depot, database_url: str) -> World:
    """A backend with the portfolio and the past, on each kind of database."""
    world = World(stack, depot, database_url)
    world.begin()
    return world


@dataclass(frozen=True)
class Job:
    """One entry of the timetable."""

    entry: str
    at: str
    """The occurrence that is carried out here."""
    check: Callable[[World, Run], None] = lambda world, run: None
    moves: tuple[str, ...] = ()
    """The collections whose old records it moves to the archive."""


def _analysed(analysis_type: AnalysisType) -> Callable[[World, Run], None]:
    def check(world: World, run: Run) -> None:
        made = Counter((row["company_id"], row["type"]) for row in world.added("analyses"))
        assert made == {(company.id, analysis_type): 1 for company in world.portfolio}
        assert run.targets == len(world.portfolio)
        for kind in ("insights", "alerts"):
            stories = [
                (row["company_id"], row["story_id"], row["type"]) for row in world.added(kind)
            ]
            assert len(set(stories)) == len(stories) == run.totals[kind] > 0

    return check


def _reported(world: World, run: Run) -> None:
    (made,) = world.added("reports")
    assert made["period"] == "2025-W49"
    report = Report.model_validate(made["content"])
    assert (report.portfolio.companies, report.portfolio.gaps) == (len(world.portfolio), ())
    assert report.insights.total == run.totals["insights"] == len(world.past["insights"])


def _optimised(world: World, run: Run) -> None:
    assert run.targets == len(STEPS)
    assert run.totals["analyze_tables"] > len(MAKE)
    assert run.totals["vacuum_tables"] > 0
    assert run.totals["reindex_tables"] == (0 if world.is_sqlite else 1)


JOBS = (
    Job("daily_company_analysis", "2026-03-02T06:00:00Z", _analysed(DAILY)),
    Job("hourly_quick_scan", "2026-03-02T06:00:00Z", _analysed(QUICK_SCAN)),
    # Of the week in which the past lies.
    Job("weekly_comprehensive_report", "2025-12-08T08:00:00Z", _reported),
    Job("data_cleanup", "2026-03-02T03:00:00Z", moves=CLEANED),
    Job("report_archival", "2026-01-01T01:00:00Z", moves=("reports",)),
    Job("database_optimisation", "2026-03-01T02:00:00Z", _optimised),
)
