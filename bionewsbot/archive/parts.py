"""A part: one object of archived records, and the manifest that says what is in it."""

import re
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from bionewsbot.errors import ArchiveCorrupt
from bionewsbot.validation import dotted, problems

SCHEMA = 1
"""Version of the manifest and of the object that it describes."""

MANIFEST = re.compile(r"([0-9]{8})\.json")

State = Literal["handing over", "kept", "restoring", "restored"]
"""`handing over`: archived, and not all of it is deleted at the backend yet. `kept`: the archive
alone has it. `restoring`: not all of it is back at the backend yet. `restored`: only this record
of it is left here."""

TIME_FIELDS = {
    "analyses": "scheduled_for",
    "insights": "created_at",
    "alerts": "created_at",
    "reports": "created_at",
}
"""The collections that can be archived, and the field that says how old a record is."""


class Part(BaseModel):
    """A part's manifest. It is there from the moment in which the part counts."""

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
    state: State
    replaces: int | None = None
    """The number of the part of which this is what couldn't be restored."""

    @property
    def name(self) -> str:
        """What commands call it, such as `insights/00000003`."""
        return f"{self.collection}/{self.number:08}"

    @property
    def manifest_path(self) -> str:
        """Where its manifest lies."""
        return f"{self.name}.json"

    @property
    def object_path(self) -> str:
        """Where its records lie. The sum is in the name: no writer can replace another's object."""
        return f"{self.name}-{self.sha256[:16]}.jsonl.gz"

    def to_json(self) -> bytes:
        """Write the manifest."""
        return self.model_dump_json(indent=2).encode() + b"\n"


def read_part(text: bytes, place: str) -> Part:
    """Read a manifest. Raises ArchiveCorrupt, which names the place and the field."""
    try:
        return Part.model_validate_json(text)
    except ValidationError as error:
        first = problems(error)[0]
        where = f"{dotted(first.place)}: " if first.place else ""
        raise ArchiveCorrupt(
            f"{place}: {where}{first.text}; bring it back from a backup of the archive"
        ) from error
