"""The dead letters as they are kept: an item's or a message's whole story, newest state first."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, cast

from redis import Redis

from bionewsbot.errors import LetterUnknown
from bionewsbot.names import KEY_PREFIX

LETTERS = f"{KEY_PREFIX}letters"
BY_TIME = f"{KEY_PREFIX}letters:by_time"

DEAD = "dead"
REPLAYING = "replaying"
"""It was sent once more, and what comes of it isn't known yet."""

_PAGE = 500


@dataclass(frozen=True)
class Story:
    """How one generation of it came to be given up on. Times are epoch seconds."""

    generation: int
    at: float
    why: str
    """Why it wasn't tried again."""
    error: str | None
    traceback: str | None
    worker: str | None
    sends: int
    starts: int
    deaths: int
    attempts: tuple[Mapping[str, Any], ...]
    """Failed attempts before the last: `at`, `error`, `worker`."""
    message: Mapping[str, Any] | None
    """The message as it came; None where who gave up had none."""

    @property
    def said(self) -> str:
        """All that is said of the cause."""
        return f"{self.why}\n{self.error or ''}"


@dataclass(frozen=True)
class Letter:
    """What was given up on. Times are epoch seconds."""

    id: str
    state: str
    run_id: str | None
    target: str | None
    entry: str | None
    task: str
    queue: str
    kwargs: Mapping[str, Any]
    first_at: float
    last_at: float
    stories: tuple[Story, ...]
    replays: int = 0
    replayed_at: float | None = None
    replayed_by: str | None = None

    @property
    def last(self) -> Story:
        """The story of the latest generation."""
        return self.stories[-1]

    @property
    def company(self) -> str | None:
        """The company that it is about, if it is about one."""
        return self.kwargs.get("company_id")

    def as_dict(self) -> dict[str, Any]:
        """Return it as values that can be written as JSON."""
        return {**asdict(self), "company": self.company}


class Letters:
    """Reads the dead letters.

    Every method raises redis.RedisError if Redis stays away beyond the client's retries.
    """

    def __init__(self, redis: "Redis") -> None:
        """Use `redis` (answers decoded)."""
        self._redis = redis

    def get(self, letter_id: str) -> Letter:
        """Return a letter. Raises LetterUnknown."""
        text = cast("str | None", self._redis.hget(LETTERS, letter_id))
        if text is None:
            raise LetterUnknown(f"There is no dead letter {letter_id!r}; see `dlq list`")
        return read_letter(text)

    def find(
        self,
        *,
        task: str | None = None,
        run: str | None = None,
        error: str | None = None,
        since: datetime | None = None,
    ) -> list[Letter]:
        """Return the letters that fit all that is given, the latest first.

        `run` is a run's id or an entry's name, `error` a part of the last error's text
        or of its cause's: a letter of no run has only that.
        """
        oldest = "-inf" if since is None else since.timestamp()
        ids = cast(list[str], self._redis.zrange(BY_TIME, "+inf", oldest, byscore=True, desc=True))
        found: list[Letter] = []
        for start in range(0, len(ids), _PAGE):
            texts = cast(list[Any], self._redis.hmget(LETTERS, ids[start : start + _PAGE]))
            found += [read_letter(text) for text in texts if text is not None]
        return [
            letter
            for letter in found
            if (task is None or task in (letter.task, letter.task.rpartition(".")[2]))
            and (run is None or run in (letter.run_id, letter.entry))
            and (error is None or error.lower() in letter.last.said.lower())
        ]

    def stats(self) -> dict[str, Any]:
        """Return how many letters there are, by state, task and cause, and the oldest's time."""
        letters = self.find()
        oldest = min((letter.first_at for letter in letters), default=None)
        return {
            "letters": len(letters),
            "by_state": _counted(letter.state for letter in letters),
            "by_task": _counted(letter.task for letter in letters),
            "by_why": _counted(letter.last.why for letter in letters),
            "oldest": oldest and datetime.fromtimestamp(oldest, UTC).isoformat(timespec="seconds"),
        }


def read_letter(text: str) -> Letter:
    """Read a letter from its JSON."""
    row = json.loads(text)
    # A script writes an empty list as an object.
    stories = [
        Story(
            generation=int(story["generation"]),
            at=story["at"],
            why=story["why"],
            error=story.get("error"),
            traceback=story.get("traceback"),
            worker=story.get("worker"),
            sends=int(story.get("sends", 0)),
            starts=int(story.get("starts", 0)),
            deaths=int(story.get("deaths", 0)),
            attempts=tuple(story.get("attempts") or ()),
            message=story.get("message"),
        )
        for story in row["stories"]
    ]
    kwargs = row.get("kwargs") or "{}"
    return Letter(
        id=row["id"],
        state=row["state"],
        run_id=row.get("run_id"),
        target=row.get("target"),
        entry=row.get("entry"),
        task=row["task"],
        queue=row["queue"],
        kwargs=json.loads(kwargs) if isinstance(kwargs, str) else kwargs,
        first_at=row["first_at"],
        last_at=row["last_at"],
        stories=tuple(stories),
        replays=int(row.get("replays", 0)),
        replayed_at=row.get("replayed_at"),
        replayed_by=row.get("replayed_by"),
    )


def _counted(words: Any) -> dict[str, int]:
    return dict(Counter(words).most_common())


def texts_of(redis: "Redis", ids: Sequence[str]) -> list[str | None]:
    """Return the letters' JSON, None for one that is gone."""
    return cast("list[str | None]", redis.hmget(LETTERS, list(ids)))
