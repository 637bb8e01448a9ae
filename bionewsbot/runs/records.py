"""Reads the ledger's records: from what Redis holds to what the model says."""

import json
from collections.abc import Mapping
from typing import Any

from bionewsbot.names import KEY_PREFIX
from bionewsbot.runs.model import Address, Item, Message, Run, Suspect, parse_time


def key_of(kind: str, name: str | None = None) -> str:
    """Return the Redis key of a kind of record, of one run or entry if given."""
    return f"{KEY_PREFIX}{kind}" + (f":{name}" if name else "")


def message_of(target: str, row: Mapping[str, Any]) -> Message:
    """Return the message of an item's row."""
    return Message(target, row["task"], row["queue"], json.loads(row["kwargs"]))


def suspect_of(row: Mapping[str, Any]) -> Suspect:
    """Return a suspect from a row as the script gives it."""
    return Suspect(
        address=Address(row["run_id"], row["target"], int(row["generation"])),
        message=message_of(row["target"], row),
        task_id=row.get("task_id"),
        sent_at=row.get("sent_at"),
        sends=int(row["sends"]),
        deaths=int(row.get("deaths", 0)),
        begun="begun_at" in row,
        alive=bool(row.get("alive")),
        start_by=row.get("start_by"),
    )


def item_of(target: str, row: Mapping[str, Any]) -> Item:
    """Return an item from its row."""
    return Item(
        target=target,
        state=row["state"],
        task=row["task"],
        queue=row["queue"],
        kwargs=json.loads(row["kwargs"]),
        sends=int(row["sends"]),
        starts=int(row["starts"]),
        task_id=row.get("task_id"),
        sent_at=row.get("sent_at"),
        begun_at=row.get("begun_at"),
        ended_at=row.get("ended_at"),
        worker=row.get("worker"),
        error=row.get("error"),
        attempts=tuple(row.get("attempts") or ()),
        # An empty object comes back from Lua as an empty array.
        totals={name: int(value) for name, value in dict(row.get("totals") or {}).items()},
        in_line=bool(row.get("in_line")),
    )


def run_of(run_id: str, fields: Mapping[str, str]) -> Run:
    """Return a run from the fields of its hash."""
    return Run(
        run_id=run_id,
        entry=fields["entry"],
        scheduled_for=parse_time(fields["scheduled_for"]),
        generation=int(fields["generation"]),
        origin=fields["origin"],
        status=fields["status"],
        opened_at=float(fields["opened_at"]),
        deadline=float(fields["deadline"]),
        ended_at=float(fields["ended_at"]) if "ended_at" in fields else None,
        reason=fields.get("reason"),
        fanned_out="fanned_out_at" in fields,
        targets=int(fields["targets"]),
        done=int(fields["done"]),
        failed=int(fields["failed"]),
        totals={name: int(value) for name, value in json.loads(fields["totals"]).items()},
        earlier=tuple(json.loads(fields["earlier"])),
    )
