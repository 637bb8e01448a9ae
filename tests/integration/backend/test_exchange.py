"""Export, deletion and import: what was archived goes, and comes back as it was."""

from typing import Any

import pytest
from support.backend_app import RunningBackend, StubSource, filing, insight, story
from support.polling import wait_until

COLLECTIONS = ("analyses", "insights", "alerts", "reports")


@pytest.fixture
def filled(backend: RunningBackend, source: StubSource) -> RunningBackend:
    """A backend with some of everything, each with all its fields used."""
    source.records = (filing(), filing("10-K", number=2))
    for number in range(3):
        day = f"2026-01-{20 + number}T06:00:00.123456Z"
        backend.analyse(f"k{number}", scheduled_for=day)
        backend.post("insights", insight(number))
        backend.post("insights", insight(number, source="wire", url=None))
        alert = backend.post("alerts", story(number)).json()
        backend.call("PATCH", f"alerts/{alert['id']}", json={"state": "acknowledged"})
        backend.call("PUT", f"reports/weekly/2026-W1{number}", json={"n": [number, 0.1, None]})
        backend.clock.advance(days=1, microseconds=123457)
    return backend


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_round_trip_keeps_everything(filled: RunningBackend, collection: str) -> None:
    """Exported, deleted and imported, every record is what it was, its id included."""
    before = filled.all(collection)
    exported = filled.all(f"export/{collection}", limit=2)
    assert exported == before[::-1]
    ids = [record["id"] for record in exported]
    deleted = filled.post(f"export/{collection}/delete", {"ids": [*ids, "unknown"]}, "d")
    assert deleted.status_code == 200
    assert deleted.json() == {"deleted": sorted(ids), "left": [], "absent": ["unknown"]}
    assert filled.all(collection) == []
    back = filled.post(f"import/{collection}", {"items": exported}, "i")
    assert back.json() == {"imported": 3, "unchanged": 0, "conflicts": []}
    assert filled.all(collection) == before
    again = filled.post(f"import/{collection}", {"items": exported}, "other")
    assert again.json() == {"imported": 0, "unchanged": 3, "conflicts": []}


def test_export_takes_what_is_older(filled: RunningBackend) -> None:
    """`before` counts scheduled time for analyses, storing time for the others."""
    analyses = filled.all("export/analyses", before="2026-01-21T06:00:00.123456Z")
    assert [item["scheduled_for"] for item in analyses] == ["2026-01-20T06:00:00.123456Z"]
    insights = filled.all("export/insights", before="2026-03-02T12:00:00Z")
    assert [item["story_id"] for item in insights] == ["sec:GILD:8-K:0"]


def test_unfinished_analyses_stay(backend: RunningBackend, source: StubSource) -> None:
    """What is queued or running is neither exported nor deleted."""
    done = backend.analyse("a")
    source.gate.clear()
    running = backend.start_analysis("b")
    wait_until(lambda: len(source.asked) == 2, "the second one runs")
    assert [item["id"] for item in backend.all("export/analyses")] == [done["id"]]
    answer = backend.post("export/analyses/delete", {"ids": [done["id"], running["id"]]}).json()
    assert (answer["deleted"], answer["left"]) == ([done["id"]], [running["id"]])
    assert [item["id"] for item in backend.all("analyses")] == [running["id"]]
    source.gate.set()


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_what_changed_since_its_export_is_not_deleted(
    filled: RunningBackend, collection: str
) -> None:
    """Of each record the delete says when it had last changed; a second use says the same."""
    field = "finished_at" if collection == "analyses" else "updated_at"
    records = filled.all(f"export/{collection}")
    times = {record["id"]: record[field] for record in records}
    first, second, third = times
    body = {"ids": [*times, "unknown"], "last_changed": {**times, second: times[third]}}
    answer = filled.post(f"export/{collection}/delete", body, "d").json()
    assert answer == {"deleted": sorted([first, third]), "left": [second], "absent": ["unknown"]}
    assert filled.all(collection) == [records[1]]
    again = filled.post(f"export/{collection}/delete", body, "d").json()
    assert (again["deleted"], again["left"]) == ([], [second])


def test_a_change_by_the_api_is_a_change(filled: RunningBackend) -> None:
    """An alert that is closed, an insight with another source, a report that is replaced."""
    held = {name: filled.all(f"export/{name}") for name in ("alerts", "insights", "reports")}
    filled.call("PATCH", f"alerts/{held['alerts'][0]['id']}", json={"state": "closed"})
    filled.post("insights", insight(0, source="other wire"))
    report = held["reports"][0]
    filled.call(
        "PUT",
        f"reports/weekly/{report['period']}",
        json={"n": 9},
        headers={"If-Match": f'"{report["etag"]}"'},
    )
    for name, records in held.items():
        times = {record["id"]: record["updated_at"] for record in records}
        body = {"ids": list(times), "last_changed": times}
        answer = filled.post(f"export/{name}/delete", body).json()
        assert answer["left"] == [records[0]["id"]], name


def test_key_of_a_deleted_resource_says_gone(filled: RunningBackend) -> None:
    """A key whose analysis was archived makes no second one; the answer names the mends."""
    oldest, *_ = filled.all("export/analyses")
    filled.post("export/analyses/delete", {"ids": [oldest["id"]]})
    body = {name: oldest[name] for name in ("company_id", "type", "scheduled_for")}
    answer = filled.post("analyses", body, "k0")
    assert answer.status_code == 410
    assert "restore" in answer.json()["detail"]
    filled.post("import/analyses", {"items": [oldest]})
    assert filled.post("analyses", body, "k0").json()["id"] == oldest["id"]


def test_second_use_of_a_key_changes_nothing(filled: RunningBackend) -> None:
    """A deletion sent again after a restore doesn't delete what was restored, nor vice versa.

    What the second restore leaves out it names, so that no archive gives it up.
    """
    records = filled.all("export/insights")
    ids = {"ids": [record["id"] for record in records]}
    filled.post("export/insights/delete", ids, "d")
    filled.post("import/insights", {"items": records}, "i")
    repeated = filled.post("export/insights/delete", ids, "d")
    assert repeated.json() == {"deleted": [], "left": sorted(ids["ids"]), "absent": []}
    assert len(filled.all("insights")) == 3
    other = filled.post("export/insights/delete", {"ids": ids["ids"][:1]}, "d")
    assert other.status_code == 422
    filled.post("export/insights/delete", ids, "d2")
    filled.post("import/insights", {"items": records[:1]}, "i2")
    filled.post("import/insights", {"items": [{**records[1], "title": "newer"}]}, "i3")
    stored = filled.all("insights")
    told = filled.post("import/insights", {"items": records}, "i").json()
    assert (told["imported"], told["unchanged"]) == (0, 1)
    assert [(one["id"], one["reason"].split(";")[0]) for one in told["conflicts"]] == [
        (records[1]["id"], "the stored record of this id differs"),
        (records[2]["id"], "it was put back by this key before and deleted since"),
    ]
    assert filled.all("insights") == stored


def test_import_keeps_what_is_there(filled: RunningBackend) -> None:
    """A record that differs, or whose place is taken, is listed and the stored one kept."""
    records = filled.all("export/alerts")
    changed = {**records[0], "state": "open"}
    usurper = {**records[1], "id": "another"}
    answer = filled.post("import/alerts", {"items": [changed, usurper, records[2]]}).json()
    assert (answer["imported"], answer["unchanged"]) == (0, 1)
    assert [conflict["id"] for conflict in answer["conflicts"]] == [records[0]["id"], "another"]
    assert filled.all("export/alerts") == records


@pytest.mark.parametrize(
    ("change", "status", "place"),
    [
        ({"severity": "grave"}, 422, "body.items.1.severity"),
        ({"surplus": 1}, 422, "body.items.1.surplus"),
        ({"company_id": "NONE"}, 404, "NONE"),
    ],
)
def test_import_is_all_or_nothing(
    filled: RunningBackend, change: dict[str, Any], status: int, place: str
) -> None:
    """One wrong record, and none of the page is imported."""
    records = filled.all("export/insights")
    filled.post("export/insights/delete", {"ids": [record["id"] for record in records]})
    wrong = [records[0], {**records[1], **change}]
    answer = filled.post("import/insights", {"items": wrong})
    assert answer.status_code == status
    assert place in answer.json()["detail"]
    assert filled.all("insights") == []


def test_running_analysis_cant_be_imported(filled: RunningBackend) -> None:
    """An archive holds only what had ended; anything else would never end."""
    record, *_ = filled.all("export/analyses")
    answer = filled.post("import/analyses", {"items": [{**record, "status": "running"}]})
    assert answer.status_code == 422
