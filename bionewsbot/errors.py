"""Every exception of the scheduler, in one tree.

A message names the place and the mend: it is what an operator reads at 3 a.m.
"""

from typing import Any


class BioNewsBotError(Exception):
    """Base of all errors that this package raises on purpose."""


class ConfigurationError(BioNewsBotError):
    """Environment, YAML or timetable is wrong; nothing was started or changed."""


class SettingsError(ConfigurationError):
    """One or more environment variables are wrong; the message lists all of them."""


class CompaniesFileError(ConfigurationError):
    """`companies.yaml` is missing or wrong; the message names file and line."""


class NotificationsFileError(ConfigurationError):
    """`notifications.yaml` is wrong; the message names file and line, and no secret."""


class TimetableError(ConfigurationError):
    """`beat_schedule.py` is missing, empty or wrong; the message names the entry."""


class EntryError(ConfigurationError):
    """A schedule entry is wrong; the message says in what."""


class ScheduleBusy(BioNewsBotError):
    """Entries were changed by others each time that a command wanted to; nothing was done."""


class RetryableError(BioNewsBotError):
    """The same call may succeed later; the task is tried again.

    `retry_after` is the number of seconds that the other side asked for, or None.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BackendUnavailable(RetryableError):
    """The Backend API refused, timed out or answered 408, 425, 429 or 5xx.

    `status` is that answer's status, or None where none came.
    """

    def __init__(
        self, message: str, *, retry_after: float | None = None, status: int | None = None
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.status = status


class NotYet(RetryableError):
    """Not now, and nothing was tried; `retry_after` says for how many seconds not to.

    It uses up no attempt.
    """


class CircuitOpen(NotYet):
    """The circuit breaker lets no call through now."""


class RateLimited(NotYet):
    """All workers together make as many calls already as API_RATE_LIMIT allows."""


class MalformedAnswer(RetryableError):
    """The Backend API's answer breaks its contract; the message says where."""


class PermanentError(BioNewsBotError):
    """Trying again can't help; the target is given up on."""


class BackendRefused(PermanentError):
    """The Backend API answered with a 3xx or 4xx that no retry mends; `status` is which.

    `etag` is the ETag of what stands in the way, where the answer named one.
    """

    def __init__(self, message: str, *, status: int, etag: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.etag = etag


class CollectionMissing(PermanentError):
    """The Backend API doesn't serve this optional collection (404 or 501 on it)."""


class ArchiveUnavailable(RetryableError):
    """The archive can't be read or written now; the message says where, and what mends it."""


class ArchiveExists(RetryableError):
    """Another writer took the part's place meanwhile; begin anew."""


class ArchiveCorrupt(PermanentError):
    """What lies in the archive is not what was written; nothing was deleted or restored."""


class WeekArchived(PermanentError):
    """Records of the week to report on are archived; a report of the rest would be false."""


class SectionsGone(PermanentError):
    """What was gathered for a report is no longer kept; one of the rest would be false."""


class PartUnknown(BioNewsBotError):
    """The archive holds no part of this name."""


class AnalysisFailed(PermanentError):
    """The backend ended an analysis as failed and said that a retry can't help."""


class OutOfMemory(PermanentError):
    """The work needs more memory than its process may have."""


class MaintenanceFailed(PermanentError):
    """The backend ended a maintenance job as failed and said that a retry can't help."""


class ChannelFailed(RetryableError):
    """A channel didn't take a notice now; the message holds nothing of the channel's address."""


class ChannelRefused(PermanentError):
    """A channel answered with a 3xx or 4xx that no retry mends; its address is wrong or revoked."""


class ChannelUnknown(PermanentError):
    """A notice is for a channel that `notifications.yaml` doesn't have (any more)."""


class NotARun(PermanentError):
    """A job's task was called outside a run: without the headers that name its occurrence."""


class NewerMessage(BioNewsBotError):
    """A message of a later version of this software, which this worker leaves to others.

    `address` is its place in the ledger.
    """

    def __init__(self, message: str, address: Any) -> None:
        super().__init__(message)
        self.address = address


class RunExists(BioNewsBotError):
    """The occurrence already has a run."""


class RunUnknown(BioNewsBotError):
    """The ledger holds no such run."""


class LetterUnknown(BioNewsBotError):
    """There is no such dead letter."""


class ReplayRefused(BioNewsBotError):
    """The dead letter can't be replayed as things stand; the message says why."""


class ReportUnknown(BioNewsBotError):
    """The backend has no such report, or one that this version can't read."""


class LedgerLimit(PermanentError):
    """A run is larger than the ledger takes."""
