"""A part: one object of archived records, and the manifest that says what is in it."""

import re
from collections.abc import Iterable
from typing import Annotated, Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from bionewsbot.errors import ArchiveCorrupt
from bionewsbot.validation import dotted, problems

SCHEMA = 1
"""Version of the manifest and of the object that it describes."""

MANIFEST = re.compile(r"([0-9]{8})\.json")

State = Literal["handing over", "kept", "restoring", "restored"]
"""`handing over`: archived, and not all of it is deleted at the backend yet. `kept`: the archive
alone has it. `restoring`: not all of it is back at the backend yet. `restored`: only its manifest
and marks are left here. A part goes through them in this order and never back."""

STATES: tuple[State, ...] = get_args(State)

MARK = re.compile(r"([0-9]{8})\.(kept|restoring|restored)")
"""Name of an empty file that says how far a part is: the furthest one counts. Since a mark is only
ever added, a mover that was frozen and comes to it late takes nothing back."""

OBJECT = re.compile(r"([0-9]{8})-[0-9a-f]{16}\.jsonl\.gz")

TIME_FIELDS = {
    "analyses": "scheduled_for",
    "insights": "created_at",
    "alerts": "created_at",
    "reports": "created_at",
}
"""The collections that can be archived, and the field that says how old a record is."""


class Part(BaseModel):
    """A part's manifest, which is there from the moment in which the part counts, and its state."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    collection: str
    number: Annotated[int, Field(ge=1)]
    """Counts the collection's parts; no number is used twice."""
    records: Annotated[int, Field(ge=1)]
    oldest: AwareDatetime
    newest: AwareDatetime
    size: Annotated[int, Field(ge=1)]
    """Bytes of the object, compressed."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of the object as it lies there, compressed."""
    written_at: AwareDatetime
    written_by: str
    """The run that archived it."""
    replaces: int | None = None
    """The number of the part of which this is what stays here, where some of it doesn't."""
    state: Annotated[State, Field(exclude=True)] = "handing over"
    """As the marks beside the manifest have it."""

    @property
    def name(self) -> str:
        """What commands call it, such as `insights/00000003`."""
        return f"{self.collection}/{self.number:08}"

    @property
    def manifest_path(self) -> str:
        """Where its manifest lies."""
        return f"{self.name}.json"

    def mark_path(self, state: State) -> str:
        """Where the mark of a state lies."""
        return f"{self.name}.{state}"

    @property
    def object_path(self) -> str:
        """Where its records lie. The sum is in the name: no writer can replace another's object."""
        return f"{self.name}-{self.sha256[:16]}.jsonl.gz"

    def to_json(self) -> bytes:
        """Write the manifest."""
        return self.model_dump_json(indent=2).encode() + b"\n"


def read_part(text: bytes, place: str, marks: Iterable[State]) -> Part:
    """Read a manifest, beside which these marks lie.

    Raises ArchiveCorrupt, which names the place and the field.
    """
    try:
        part = Part.model_validate_json(text)
    except ValidationError as error:
        first = problems(error)[0]
        where = f"{dotted(first.place)}: " if first.place else ""
        raise ArchiveCorrupt(
            f"{place}: {where}{first.text}; bring it back from a backup of the archive"
        ) from error
    furthest = max((first_state(part.replaces), *marks), key=STATES.index)
    return part.model_copy(update={"state": furthest})


def first_state(replaces: int | None) -> State:
    """Return the state of a part that has no mark yet."""
    # What replaces another part holds what is gone from the backend, or has something else in its
    # place there: nothing is to be deleted by its ids.
    return "handing over" if replaces is None else "kept"
