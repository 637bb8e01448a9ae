"""The ledger's transitions, on a real server with a clock moved by hand."""

from datetime import timedelta

import pytest
from support.ledgers import DEADLINE, LEASE, OCCURRENCE, LedgerUnderTest, message, new_run

from bionewsbot.errors import LedgerLimit, RunUnknown
from bionewsbot.runs import ledger as ledger_module
from bionewsbot.runs.ledger import KEEP_GENERATIONS, MAX_ERROR_LENGTH, Verdict
from bionewsbot.runs.model import JOB, Address, Occurrence, Opened
from bionewsbot.runs.scripting import QUEUED_LEASES

RUN_ID = "daily_company_analysis@2026-01-15T06:00:00Z"


def test_open_puts_the_run_on_record_before_anything_is_sent(book: LedgerUnderTest) -> None:
    """An opened run is running, with a job that waits."""
    job = book.open()
    run = book.ledger.get(RUN_ID)
    assert job == Address(RUN_ID, JOB, 1)
    assert (run.status, run.generation, run.origin, run.targets) == ("running", 1, "beat", 0)
    assert run.deadline == book.clock.now + DEADLINE
    assert [(item.target, item.state) for item in book.ledger.items(RUN_ID)] == [(JOB, "waiting")]


def test_an_occurrence_has_one_run(book: LedgerUnderTest) -> None:
    """The second opening of the same occurrence is refused and changes nothing."""
    job = book.open()
    book.ledger.sent([(job, "t")])
    before = book.ledger.get(RUN_ID)
    opening = book.ledger.open(new_run())
    assert (opening.verdict, opening.status, opening.to_send) == (Opened.EXISTS, "running", None)
    assert book.ledger.get(RUN_ID) == before


def test_a_run_whose_job_was_never_sent_is_to_be_sent(book: LedgerUnderTest) -> None:
    """Whoever opened it died before its message: the same run goes on, no second one."""
    job = book.open()
    opening = book.ledger.open(new_run())
    assert (opening.verdict, opening.to_send) == (Opened.UNSENT, job)


def test_a_run_that_was_never_sent_is_missed_in_the_end(book: LedgerUnderTest) -> None:
    """Past its starting deadline, or where its entry's policy gives it up."""
    start_by = OCCURRENCE.scheduled_for + timedelta(seconds=60)
    book.open(start_by=start_by)
    book.clock.advance(61)
    assert book.ledger.open(new_run(start_by=start_by)).verdict is Opened.MISSED
    assert book.ledger.get(RUN_ID).reason == "its starting deadline passed before it could be sent"
    other = Occurrence("other", OCCURRENCE.scheduled_for)
    book.ledger.open(new_run(other))
    assert book.ledger.open(new_run(other, missed="given up")).verdict is Opened.MISSED
    assert book.ledger.get(other.run_id).reason == "given up"


def test_a_missed_occurrence_is_put_on_record(book: LedgerUnderTest) -> None:
    """With its reason, and nothing to send; one that ran stays as it is."""
    opening = book.ledger.open(new_run(missed="nobody was there"))
    run = book.ledger.get(RUN_ID)
    assert (opening.verdict, opening.to_send) == (Opened.MISSED, None)
    assert (run.status, run.reason, run.ended) == ("missed", "nobody was there", True)
    again = book.open(again=True)
    book.ledger.finish(again, {})
    assert book.ledger.open(new_run(missed="late")).verdict is Opened.EXISTS
    assert book.ledger.get(RUN_ID).status == "succeeded"


def test_runs_are_opened_together(book: LedgerUnderTest) -> None:
    """In the order given, each with its own outcome, in a number of round trips that stays."""
    other = Occurrence("other", OCCURRENCE.scheduled_for)
    openings = book.ledger.open_all([new_run(), new_run(other), new_run(missed="no")])
    assert [one.verdict for one in openings] == [Opened.OPENED, Opened.OPENED, Opened.MISSED]
    assert [one.new.occurrence for one in openings] == [OCCURRENCE, other, OCCURRENCE]


def test_again_opens_a_new_generation_after_the_end(book: LedgerUnderTest) -> None:
    """--again keeps a summary of the generation before and starts with an empty record."""
    job, (gild,) = book.fan_out("GILD")
    book.ledger.fail(gild, "down", why="no")
    assert book.ledger.open(new_run()).verdict is Opened.EXISTS
    again = book.open(again=True)
    run = book.ledger.get(RUN_ID)
    assert (again.generation, run.status, run.failed, run.targets) == (2, "running", 0, 0)
    assert [(past["generation"], past["status"], past["failed"]) for past in run.earlier] == [
        (1, "failed", 1)
    ]
    book.ledger.sent([(again, "t")])
    assert book.ledger.open(new_run(again=True)).status == "running"


def test_earlier_generations_are_bounded(book: LedgerUnderTest) -> None:
    """Only the last KEEP_GENERATIONS summaries are kept."""
    for _ in range(KEEP_GENERATIONS + 3):
        book.open(again=True)
        book.ledger.cancel(RUN_ID, "tired")
    earlier = book.ledger.get(RUN_ID).earlier
    assert [past["generation"] for past in earlier] == list(range(3, KEEP_GENERATIONS + 3))


def test_a_run_opened_after_its_starting_deadline_is_missed(book: LedgerUnderTest) -> None:
    """It is on record as missed, and its job has nothing to do."""
    start_by = OCCURRENCE.scheduled_for
    book.clock.advance(1)
    opening = book.ledger.open(new_run(start_by=start_by))
    assert (opening.verdict, opening.to_send) == (Opened.MISSED, None)
    assert book.ledger.get(RUN_ID).status == "missed"
    assert book.begin(Address(RUN_ID, JOB, 1)) is Verdict.ENDED
    assert book.ledger.overdue() == []


def test_a_run_succeeds_when_its_last_target_is_done(book: LedgerUnderTest) -> None:
    """Totals add up over the targets, and the end is told to the one who brought it about."""
    job, (gild, mrna) = book.fan_out("GILD", "MRNA")
    assert book.begin(gild) is Verdict.GO
    assert book.ledger.finish(gild, {"insights": 2}) == (Verdict.RECORDED, None)
    book.clock.advance(7)
    assert book.ledger.finish(mrna, {"insights": 3, "alerts": 1}) == (
        Verdict.RECORDED,
        "succeeded",
    )
    run = book.ledger.get(RUN_ID)
    assert (run.status, run.targets, run.done, run.failed) == ("succeeded", 2, 2, 0)
    assert run.totals == {"insights": 5, "alerts": 1}
    assert [item.totals for item in book.ledger.items(RUN_ID)] == [
        {},
        {"insights": 2},
        {"insights": 3, "alerts": 1},
    ]
    assert run.seconds(book.clock.now + 99) == 7


@pytest.mark.parametrize(
    ("failing", "status"), [(("GILD",), "partial"), (("GILD", "MRNA"), "failed")]
)
def test_a_run_ends_also_when_targets_fail_for_good(
    book: LedgerUnderTest, failing: tuple[str, ...], status: str
) -> None:
    """Some failed: partial; all failed: failed."""
    _, addresses = book.fan_out("GILD", "MRNA")
    for address in addresses:
        if address.target in failing:
            book.ledger.fail(address, "x" * 2 * MAX_ERROR_LENGTH, why="no")
        else:
            book.ledger.finish(address, {})
    assert book.ledger.get(RUN_ID).status == status
    errors = [item.error for item in book.ledger.items(RUN_ID) if item.state == "failed"]
    assert [len(error or "") for error in errors] == [MAX_ERROR_LENGTH] * len(failing)


def test_a_job_without_targets_is_a_run_of_its_own(book: LedgerUnderTest) -> None:
    """A job that does its work itself ends the run; a failing one fails it."""
    job = book.open()
    assert book.ledger.finish(job, {"deleted": 4}) == (Verdict.RECORDED, "succeeded")
    again = book.open(again=True)
    assert book.ledger.fail(again, "no", why="no") == (Verdict.RECORDED, "failed")


def test_no_target_ends_the_run_before_the_job_is_done(book: LedgerUnderTest) -> None:
    """A target that is quicker than the fan-out doesn't close the run under it."""
    job = book.open()
    book.ledger.fan_out(job, [message("GILD")])
    gild = Address(job.run_id, "GILD", job.generation)
    assert book.ledger.finish(gild, {}) == (Verdict.RECORDED, None)
    assert book.ledger.finish(job, {}) == (Verdict.RECORDED, "succeeded")


def test_redelivered_messages_change_nothing(book: LedgerUnderTest) -> None:
    """Begin, end and totals of an item count once, however often its message comes."""
    _, (gild, mrna) = book.fan_out("GILD", "MRNA")
    book.ledger.finish(gild, {"insights": 2})
    assert book.begin(gild, "other") is Verdict.DONE
    assert book.ledger.finish(gild, {"insights": 2}) == (Verdict.DONE, None)
    assert book.ledger.fail(gild, "late", why="no") == (Verdict.DONE, None)
    run = book.ledger.get(RUN_ID)
    assert (run.done, run.failed, run.totals) == (1, 0, {"insights": 2})


def test_a_second_message_of_a_live_item_is_dropped(book: LedgerUnderTest) -> None:
    """Another task id is told BUSY while the lease lasts; the same one, redelivered, goes on."""
    _, (gild,) = book.fan_out("GILD")
    assert book.begin(gild, "first") is Verdict.GO
    assert book.begin(gild, "second") is Verdict.BUSY
    assert book.begin(gild, "first") is Verdict.GO
    book.clock.advance(LEASE + 1)
    assert book.begin(gild, "second") is Verdict.GO


def test_messages_of_an_earlier_generation_are_superseded(book: LedgerUnderTest) -> None:
    """What was sent for generation 1 neither begins nor ends anything in generation 2."""
    job, (gild,) = book.fan_out("GILD")
    book.ledger.finish(gild, {})
    book.open(again=True)
    assert book.begin(gild) is Verdict.SUPERSEDED
    assert book.ledger.finish(job, {}) == (Verdict.SUPERSEDED, None)
    assert book.ledger.get(RUN_ID).status == "running"


def test_a_run_or_target_that_the_ledger_lacks_is_unknown(book: LedgerUnderTest) -> None:
    """Nothing is made up for a message whose run has been forgotten."""
    assert book.begin(Address(RUN_ID, JOB, 1)) is Verdict.UNKNOWN
    job = book.open()
    assert book.begin(Address(job.run_id, "NOPE", 1)) is Verdict.UNKNOWN
    with pytest.raises(RunUnknown):
        book.ledger.get("x@2026-01-15T06:00:00Z")
    with pytest.raises(RunUnknown):
        book.ledger.cancel("x@2026-01-15T06:00:00Z", "no")


def test_a_cancelled_run_drops_its_messages(book: LedgerUnderTest) -> None:
    """Nothing begins any more, and what ends late doesn't change the status."""
    _, (gild, mrna) = book.fan_out("GILD", "MRNA")
    assert book.begin(gild) is Verdict.GO
    assert book.ledger.cancel(RUN_ID, "by hand") == "cancelled"
    assert book.begin(mrna) is Verdict.ENDED
    assert book.ledger.finish(gild, {}) == (Verdict.ENDED, None)
    assert book.ledger.cancel(RUN_ID, "by hand") == "cancelled"
    run = book.ledger.get(RUN_ID)
    assert (run.status, run.reason, run.done) == ("cancelled", "by hand", 0)


def test_a_second_fan_out_keeps_the_first_selection(book: LedgerUnderTest) -> None:
    """A job that died half way sends what was not sent, and selects nothing anew."""
    job = book.open()
    targets = [message("GILD"), message("MRNA")]
    verdict, unsent = book.ledger.fan_out(job, targets)
    assert (verdict, {message.target for message in unsent}) == (Verdict.GO, {"GILD", "MRNA"})
    book.ledger.sent([(Address(job.run_id, "GILD", 1), "a")])
    _, unsent = book.ledger.fan_out(job, [message("PFE")])
    assert unsent == (targets[1],)
    assert book.ledger.get(RUN_ID).targets == 2


def test_a_run_is_bounded(book: LedgerUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """More targets than the ledger takes are refused with the numbers."""
    monkeypatch.setattr(ledger_module, "MAX_TARGETS", 1)
    job = book.open()
    with pytest.raises(LedgerLimit, match="2 targets; a run has 1"):
        book.ledger.fan_out(job, [message("GILD"), message("MRNA")])
    assert book.ledger.get(RUN_ID).targets == 0


def test_suspects_are_items_without_a_sign_of_life(book: LedgerUnderTest) -> None:
    """A begun item is suspect after one lease, a waiting one after QUEUED_LEASES."""
    _, (gild, mrna) = book.fan_out("GILD", "MRNA")
    assert book.begin(gild) is Verdict.GO
    assert book.ledger.suspects(10) == []
    book.clock.advance(LEASE + 1)
    (suspect,) = book.ledger.suspects(10)
    assert (suspect.address, suspect.begun, suspect.sends) == (gild, True, 1)
    assert suspect.message == message("GILD")
    book.ledger.alive([gild])
    assert book.ledger.suspects(10) == []
    book.clock.advance(LEASE * QUEUED_LEASES)
    assert {found.address for found in book.ledger.suspects(10)} == {gild, mrna}
    book.ledger.postpone([mrna])
    assert [found.address for found in book.ledger.suspects(10)] == [gild]


def test_suspects_clears_what_is_settled(book: LedgerUnderTest) -> None:
    """Leases of an ended run are swept; ended items have none."""
    _, (gild, mrna) = book.fan_out("GILD", "MRNA")
    book.ledger.finish(gild, {})
    assert book.redis.zcard("bionewsbot:leases") == 1
    book.ledger.cancel(RUN_ID, "by hand")
    book.clock.advance(LEASE * QUEUED_LEASES + 1)
    assert book.ledger.suspects(10) == []
    assert book.redis.zcard("bionewsbot:leases") == 0


def test_a_sign_of_life_brings_no_ended_item_back(book: LedgerUnderTest) -> None:
    """A heartbeat that comes after the end leaves no lease behind."""
    _, (gild, _) = book.fan_out("GILD", "MRNA")
    book.ledger.finish(gild, {})
    book.ledger.alive([gild])
    assert book.redis.zscore("bionewsbot:leases", f"{RUN_ID}|GILD") is None


def test_a_resent_item_begins_under_its_new_message(book: LedgerUnderTest) -> None:
    """After a send again the old worker's begin doesn't block the new message."""
    _, (gild,) = book.fan_out("GILD")
    assert book.begin(gild, "dead") is Verdict.GO
    book.clock.advance(LEASE + 1)
    book.ledger.sent([(gild, "new")])
    assert book.begin(gild, "new") is Verdict.GO
    (item,) = [item for item in book.ledger.items(RUN_ID) if item.target == "GILD"]
    assert (item.task_id, item.sends, item.starts) == ("new", 2, 2)


def test_a_worker_quicker_than_the_mark_keeps_its_item(book: LedgerUnderTest) -> None:
    """The mark that a message was sent doesn't undo its begin."""
    job = book.open()
    assert book.begin(job, "quick") is Verdict.GO
    book.ledger.sent([(job, "quick")])
    assert book.begin(job, "other") is Verdict.BUSY


def test_an_item_that_waits_for_a_retry_is_let_be(book: LedgerUnderTest) -> None:
    """A pause outlasts the wait, keeps the error, and lets the retry begin under any id."""
    _, (gild,) = book.fan_out("GILD")
    book.begin(gild, "t")
    book.ledger.pause(gild, seconds=100, error="503")
    book.clock.advance(100 + LEASE)
    assert book.ledger.suspects(10) == []
    assert book.begin(gild, "u") is Verdict.GO
    (item,) = [item for item in book.ledger.items(RUN_ID) if item.target == "GILD"]
    assert item.error == "503"


def test_a_run_past_its_deadline_ends(book: LedgerUnderTest) -> None:
    """What is left fails with the reason; what was done counts."""
    _, (gild, mrna) = book.fan_out("GILD", "MRNA")
    book.ledger.finish(gild, {"insights": 1})
    assert book.ledger.end_overdue(RUN_ID) is None
    book.clock.advance(DEADLINE + 1)
    assert book.ledger.overdue() == [RUN_ID]
    assert book.ledger.end_overdue(RUN_ID) == "partial"
    run = book.ledger.get(RUN_ID)
    assert (run.status, run.done, run.failed, run.reason) == (
        "partial",
        1,
        1,
        "the run's deadline passed",
    )
    assert book.ledger.overdue() == []


def test_a_job_that_was_never_begun_is_missed(book: LedgerUnderTest) -> None:
    """Only after its starting deadline, and only if nothing began it."""
    start_by = OCCURRENCE.scheduled_for
    book.clock.advance(-60)
    job = book.open(start_by=start_by)
    assert not book.ledger.miss(RUN_ID, "late")
    book.clock.advance(61)
    assert book.ledger.miss(RUN_ID, "late")
    assert book.ledger.get(RUN_ID).status == "missed"
    assert book.begin(job) is Verdict.ENDED


def test_a_job_that_was_begun_is_not_missed(book: LedgerUnderTest) -> None:
    """A job under way is carried to its end, however late."""
    book.clock.advance(-60)
    job = book.open(start_by=OCCURRENCE.scheduled_for)
    book.begin(job)
    book.clock.advance(61)
    assert not book.ledger.miss(RUN_ID, "late")


def test_runs_are_kept_for_the_retention_and_then_gone(book: LedgerUnderTest) -> None:
    """An ended run's keys carry their age; the index forgets what is older."""
    job = book.open()
    book.ledger.finish(job, {})
    for key in (f"bionewsbot:run:{RUN_ID}", f"bionewsbot:items:{RUN_ID}"):
        assert 89 * 86_400 < book.redis.ttl(key) <= 90 * 86_400
    # The server forgets by its own clock, which a test can't move.
    book.redis.delete(f"bionewsbot:run:{RUN_ID}", f"bionewsbot:items:{RUN_ID}")
    later = Occurrence("later", OCCURRENCE.scheduled_for)
    book.ledger.open(new_run(later))
    assert book.redis.zrange("bionewsbot:index", 0, -1) == [later.run_id]


def test_a_run_of_a_time_long_past_stays_listed(book: LedgerUnderTest) -> None:
    """What counts is how long the run is kept, not for when it was scheduled."""
    book.clock.advance(400 * 86_400)
    book.open()
    book.ledger.open(new_run(Occurrence("x", OCCURRENCE.scheduled_for)))
    assert {run.run_id for run in book.ledger.latest(9)} == {RUN_ID, "x@2026-01-15T06:00:00Z"}


def test_latest_lists_by_scheduled_time(book: LedgerUnderTest) -> None:
    """Newest occurrence first, bounded, of one entry where asked."""
    for day in (14, 16, 15):
        for entry in ("a", "b"):
            when = OCCURRENCE.scheduled_for.replace(day=day)
            book.ledger.open(new_run(Occurrence(entry, when)))
    assert [run.scheduled_for.day for run in book.ledger.latest(10)] == [16, 16, 15, 15, 14, 14]
    assert [run.scheduled_for.day for run in book.ledger.latest(2, "a")] == [16, 15]
    assert {name: run.scheduled_for.day for name, run in book.ledger.latest_of("abc").items()} == {
        "a": 16,
        "b": 16,
    }


def test_between_names_the_runs_of_a_stretch_of_time(book: LedgerUnderTest) -> None:
    """Both ends included, of one entry, and only runs that are still kept."""
    days = [Occurrence("a", OCCURRENCE.scheduled_for.replace(day=day)) for day in (14, 15, 16)]
    for one in (*days, OCCURRENCE):
        book.ledger.open(new_run(one))
    book.redis.delete(f"bionewsbot:run:{days[2].run_id}")
    found = book.ledger.between("a", days[1].scheduled_for, days[2].scheduled_for)
    assert found == {days[1].run_id}


def test_the_servers_clock_is_the_default(book: LedgerUnderTest) -> None:
    """Without a clock of the test's own, times are Redis' own."""
    ledger = ledger_module.Ledger(book.redis, retention_days=1, lease_seconds=LEASE)
    before = ledger.now()
    ledger.open(new_run())
    opened_at = ledger.get(RUN_ID).opened_at
    assert before <= opened_at <= ledger.now()
