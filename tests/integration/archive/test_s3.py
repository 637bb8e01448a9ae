"""The archive in an object store: a real S3 protocol server of the tests' own."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
import requests
from moto.server import ThreadedMotoServer
from support.redis_server import free_port
from support.shelves import Fate, Shelf, record

from bionewsbot.api.client import BackendClient
from bionewsbot.archive.archive import Archive
from bionewsbot.archive.exchange import hand_over, restore
from bionewsbot.archive.storage import Storage
from bionewsbot.errors import ArchiveExists, ArchiveUnavailable

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A bucket on a server of its own; s3fs finds it by the usual variables."""
    port = free_port()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port)
    server.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    # The server's state belongs to the process, not to the server.
    s3fs.S3FileSystem().mkdir(f"archive-{port}")
    yield f"s3://archive-{port}/cold"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture
def refusing(bucket: str) -> Iterator[None]:
    """From now on the server knows whose keys it takes: nobody's."""
    switch = f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
    requests.post(switch, data="0", timeout=10).raise_for_status()
    yield
    requests.post(switch, data="inf", timeout=10).raise_for_status()


def mine() -> None:
    """Nobody else moves records."""


def test_records_move_to_the_store_and_back(bucket: str) -> None:
    """As they do with a folder: parts, states, restore, and a name that is given once."""
    shelf = Shelf([record(number) for number in range(9)], Fate())
    everything = dict(shelf.records)
    client = cast(BackendClient, shelf)
    storage = Storage(bucket)
    archive = Archive(storage)
    moved = hand_over(
        client,
        archive,
        "insights",
        before=NOW,
        written_by="a run",
        still_mine=mine,
        part_records=4,
    )
    assert (moved.records, moved.parts, shelf.records) == (9, 3, {})
    assert archive.collections() == ["insights"]
    parts = archive.parts("insights")
    assert [(part.number, part.records, part.state) for part in parts] == [
        (1, 4, "kept"),
        (2, 4, "kept"),
        (3, 1, "kept"),
    ]
    for part in parts:
        archive.verify(part)
    with pytest.raises(ArchiveExists):
        storage.create(parts[0].manifest_path, b"{}")
    for part in parts:
        restore(client, archive, part, still_mine=mine)
    assert shelf.records == everything
    left = {name.rpartition(".")[2] for name in storage.names("insights")}
    assert left == {"json", "kept", "restoring", "restored"}
    assert {part.state for part in archive.parts("insights")} == {"restored"}


def test_keys_that_are_refused_change_nothing(bucket: str, refusing: None) -> None:
    """The store's own word and the mend; what was to be archived is where it was."""
    shelf = Shelf([record(0)], Fate())
    with pytest.raises(ArchiveUnavailable, match=f"{bucket}/insights: .*let this user or these"):
        hand_over(
            cast(BackendClient, shelf),
            Archive(Storage(bucket)),
            "insights",
            before=NOW,
            written_by="a run",
            still_mine=mine,
        )
    assert list(shelf.records) == [record(0)["id"]]


def test_a_bucket_that_is_not_there_is_told(bucket: str) -> None:
    """The place and the mend; and so is a server that is away."""
    with pytest.raises(ArchiveUnavailable, match="s3://no-such-bucket/x/.*ARCHIVE_LOCATION"):
        with Storage("s3://no-such-bucket/x").writing("insights") as (_, file):
            file.write(b"x")
