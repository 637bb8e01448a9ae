"""Errors as the user of a command sees them: the message on stderr, an exit code, no traceback."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import click

from bionewsbot.errors import BioNewsBotError, ConfigurationError

EXIT_FAILED = 1
"""The command was right, but what it asked for failed (such as a backend that is down)."""

EXIT_MISCONFIGURED = 2
"""Environment, YAML or timetable is wrong: as with click's own usage errors, edit and try again."""

P = ParamSpec("P")
R = TypeVar("R")


class CommandFailed(click.ClickException):
    """Ends a command: click prints `Error: <message>` on stderr and exits with `exit_code`."""

    exit_code = EXIT_FAILED


class CommandMisconfigured(CommandFailed):
    """The same, with the exit code that says: edit the configuration and try again."""

    exit_code = EXIT_MISCONFIGURED


def reports_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Make a command end with the message and exit code of the BioNewsBotError that it raises.

    Goes directly above the function, below click's decorators. A Redis that is away or refuses to
    write is told as well. Any other exception is a defect of ours and keeps its traceback.
    """

    @wraps(command)
    def reporting(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except ConfigurationError as error:
            raise CommandMisconfigured(str(error)) from error
        except BioNewsBotError as error:
            raise CommandFailed(str(error)) from error
        except Exception as error:
            told = _told_of_redis(error)
            if told is None:
                raise
            raise CommandFailed(told) from error

    return reporting


def _told_of_redis(error: Exception) -> str | None:
    from kombu.exceptions import OperationalError
    from redis import ConnectionError, ResponseError, TimeoutError
    from redis.exceptions import NoPermissionError, OutOfMemoryError, ReadOnlyError

    match error:
        case ConnectionError() | TimeoutError() | OperationalError():
            return (
                f"Redis doesn't answer ({error}). Is it running (`make up`), "
                "and are REDIS_HOST and REDIS_PORT right?"
            )
        case OutOfMemoryError():
            mend = "Its memory is full: raise its maxmemory, or remove what fills it"
        case ReadOnlyError():
            mend = "It is a replica: set REDIS_HOST and REDIS_PORT to its primary"
        case NoPermissionError():
            mend = "Its user may not do this: give the user the right (ACL SETUSER)"
        case ResponseError() if str(error).startswith("MISCONF"):
            mend = "It can't save to its disk: see its log"
        case ResponseError() if str(error).startswith("NOREPLICAS"):
            mend = "Too few of its replicas answer: bring them back"
        case _:
            return None
    return f"Redis refuses ({error}). {mend}."
