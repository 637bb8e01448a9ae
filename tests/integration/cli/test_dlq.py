"""`dlq list|show|replay|purge|stats` on real letters: words, JSON and exit codes."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from click.testing import CliRunner, Result
from kombu.exceptions import OperationalError
from support.apps import Broker
from support.ledgers import OCCURRENCE, message, new_run

from bionewsbot.cli.dlq import dlq
from bionewsbot.cli.who import who_i_am
from bionewsbot.dead_letters import replay as replay_module
from bionewsbot.dead_letters.letters import DEAD, Letter, Letters
from bionewsbot.runs.ledger import ledger
from bionewsbot.runs.model import Address

RUN_ID = OCCURRENCE.run_id
Run = Callable[..., Result]


@pytest.fixture
def run(app: Celery, broker: Broker) -> Run:
    """Return what runs a command as `celery -A bionewsbot dlq` does."""

    def run(*arguments: str, code: int = 0) -> Result:
        done = CliRunner().invoke(dlq, list(arguments), obj=SimpleNamespace(app=app))
        assert done.exit_code == code, f"{done.output}\n{done.stderr}"
        return done

    return run


@pytest.fixture
def stray(app: Celery) -> str:
    """The id of a letter of no run, whose task has a name that rich would take for markup."""
    story = {"generation": 1, "at": 1.0, "why": "its task is unknown: '[/x]'"}
    letter = {"schema": 1, "id": "stray", "state": DEAD, "task": "[/x]", "queue": "high"}
    ledger().record_letter({**letter, "first_at": 1.0, "last_at": 1.0, "stories": [story]})
    return "stray"


@pytest.fixture
def letters(app: Celery) -> dict[str, Letter]:
    """Letters of a run whose targets failed, by target."""
    book = ledger()
    job = book.open(new_run()).to_send
    assert job is not None
    book.begin(job, task_id="job", worker="w")
    book.fan_out(job, [message("GILD"), message("MRNA"), message("PFE")])
    book.finish(job, {})
    for target, error in (("GILD", "BackendRefused: 404 [no]"), ("MRNA", "TimeoutError: slow")):
        book.fail(Address(RUN_ID, target, 1), error, why="the error is permanent", traceback="T!")
    book.finish(Address(RUN_ID, "PFE", 1), {})
    return {str(letter.target): letter for letter in Letters(book._redis).find()}


def test_an_empty_list_says_so(run: Run) -> None:
    """No table of nothing; JSON is an empty list."""
    assert run("list").output == "No dead letters.\n"
    assert json.loads(run("list", "--json").output) == []


def test_list_shows_what_to_look_at(
    run: Run, letters: dict[str, Letter], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Id, run, target, cause and error; rich's own markup in an error is text."""
    monkeypatch.setenv("COLUMNS", "250")
    said = run("list").output
    for letter in letters.values():
        assert letter.id in said
    assert "404 [no]" in said and "the error is permanent" in said


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--error", "timeout"), {"MRNA"}),
        (("--run", RUN_ID, "--task", "task"), {"GILD", "MRNA"}),
        (("--since", "1h"), {"GILD", "MRNA"}),
        (("--since", "2999-01-01T00:00:00Z"), set()),
    ],
)
def test_list_chooses(
    run: Run, letters: dict[str, Letter], options: tuple[str, ...], found: set[str]
) -> None:
    """By each filter, and by all that are given."""
    rows = json.loads(run("list", "--json", *options).output)
    assert {row["target"] for row in rows} == found


def test_a_letter_of_no_run_is_listed_and_found(run: Run, stray: str) -> None:
    """Its task's name is text whatever it looks like; `--error` looks into its cause."""
    said = run("list").output
    assert stray in said and "[/x]" in said
    assert [
        row["id"] for row in json.loads(run("list", "--json", "--error", "UNKNOWN").output)
    ] == [stray]


def test_show_tells_the_whole_story(run: Run, letters: dict[str, Letter]) -> None:
    """For people with the traceback, as JSON with every field."""
    letter = letters["GILD"]
    said = run("show", letter.id).output
    assert all(word in said for word in (letter.id, RUN_ID, "GILD", "404 [no]", "T!"))
    shown = json.loads(run("show", letter.id, "--json").output)
    assert (shown["company"], shown["stories"][0]["why"]) == ("GILD", "the error is permanent")


def test_an_unknown_letter_is_an_error(run: Run) -> None:
    """Exit code 1, with where to look."""
    assert "see `dlq list`" in run("show", "nope", code=1).stderr


def test_replay_sends_and_says_who(run: Run, letters: dict[str, Letter], broker: Broker) -> None:
    """One message, of the next generation; the letter knows the operator."""
    letter = letters["GILD"]
    assert f"Replayed {letter.id}" in run("replay", letter.id).output
    (sent,) = broker.messages("default")
    assert Address.from_headers(sent["headers"]) == Address(RUN_ID, "GILD", 2)
    shown = json.loads(run("show", letter.id, "--json").output)
    assert (shown["state"], shown["replayed_by"]) == ("replaying", who_i_am())


def test_replay_all_passes_over_what_is_under_way(
    run: Run, letters: dict[str, Letter], broker: Broker
) -> None:
    """A second `--all` replays nothing twice; a letter that is named is refused in words."""
    assert "2 replayed, 0 refused" in run("replay", "--all", "--rate", "1000").output
    assert "0 replayed, 0 refused" in run("replay", "--all").output
    refused = run("replay", letters["GILD"].id, code=1)
    assert "wait for its end" in refused.stderr
    assert len(broker.messages("default")) == 2


def test_a_dry_run_changes_nothing(run: Run, letters: dict[str, Letter], broker: Broker) -> None:
    """Neither a replay nor a purge."""
    assert "2 to replay" in run("replay", "--all", "--dry-run").output
    assert "Would remove 2" in run("purge", "--all", "--dry-run").output
    assert broker.messages("default") == []
    assert json.loads(run("stats", "--json").output)["by_state"] == {"dead": 2}


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_what_can_not_be_replayed_keeps_nothing_back(
    run: Run, letters: dict[str, Letter], stray: str, options: tuple[str, ...]
) -> None:
    """`--all` names it and has done its work; asked for by its id, it is an error. Dry or not."""
    done = run("replay", "--all", *options)
    assert f"2 {'to replay' if options else 'replayed'}, 1 refused" in done.output
    assert "refused: stray belongs to no run that is known" in done.stderr
    assert "refused" in run("replay", stray, *options, code=1).stderr
    ledger().cancel(RUN_ID, "tired")
    ledger()._redis.delete(f"bionewsbot:run:{RUN_ID}")
    assert "has forgotten" in run("replay", letters["GILD"].id, *options, code=1).stderr


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_an_error_half_way_tells_what_was_sent(
    run: Run,
    letters: dict[str, Letter],
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
) -> None:
    """What the broker took before it went away is said, then the error."""
    send_all, calls = replay_module.send_all, []

    def send_once(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) > 1:
            raise OperationalError("gone")
        return send_all(*arguments)

    monkeypatch.setattr(replay_module, "send_all", send_once)
    done = run("replay", "--all", *options, code=1)
    assert "Redis doesn't answer (gone)" in done.stderr
    if options:
        said = json.loads(done.stdout)
        assert ["task_id" in letter for letter in said["letters"]] == [True]
        assert said["left"] == 1
    else:
        assert "1 replayed, 0 refused, 1 left" in done.stdout


@pytest.mark.parametrize("rate", ["nan", "inf", "0", "-1", "1e-320"])
def test_a_rate_that_is_none_is_refused(run: Run, letters: dict[str, Letter], rate: str) -> None:
    """In words, before anything is sent."""
    assert "between 0.001 and 1000" in run("replay", "--all", "--rate", rate, code=2).stderr
    assert json.loads(run("stats", "--json").output)["by_state"] == {DEAD: 2}


@pytest.mark.parametrize("command", ["replay", "purge"])
@pytest.mark.parametrize("arguments", [(), ("x", "--all"), ("--all", "--error", "x")])
def test_what_is_meant_has_to_be_said(
    run: Run, letters: dict[str, Letter], command: str, arguments: tuple[str, ...]
) -> None:
    """Nothing, or two ways at once, is a usage error before anything is done."""
    assert "say which" in run(command, *arguments, code=2).stderr


def test_purge_removes_unrun(run: Run, letters: dict[str, Letter], broker: Broker) -> None:
    """The letter is gone; its run keeps the failure."""
    assert run("purge", "--error", "timeout").output == "Removed 1 dead letters\n"
    assert [row["target"] for row in json.loads(run("list", "--json").output)] == ["GILD"]
    assert ledger().get(RUN_ID).failed == 2
    assert broker.messages("default") == []


def test_stats_count(run: Run, letters: dict[str, Letter]) -> None:
    """By state, task and cause."""
    said = run("stats").output
    assert "2 dead letters" in said and "tests.task" in said and "the error is permanent" in said


def test_a_time_that_is_none_is_refused(run: Run) -> None:
    """With examples of what is."""
    assert "2026-01-15T06:00:00Z" in run("list", "--since", "yesterday", code=2).stderr
