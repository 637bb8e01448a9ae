"""`python -m bionewsbot.backend`: migrate the database, then serve until told to stop."""

import errno
import logging
import signal
import socket
import sys
from types import FrameType

import uvicorn
from fastapi import FastAPI

from bionewsbot.backend import logs
from bionewsbot.backend.app import create_app
from bionewsbot.backend.services import Services
from bionewsbot.backend.settings import (
    BackendSettings,
    BackendSettingsError,
    load,
    without_password,
)
from bionewsbot.backend.sources import sources
from bionewsbot.backend.storage.database import Database, DatabaseUnusable

# Not __name__, which is "__main__" when this module is run.
logger = logging.getLogger("bionewsbot.backend")

GRACE = 10
"""Seconds that requests get to end at a shutdown; long polls are answered at once."""

KEEP_ALIVE = 75
"""Seconds for which an idle connection stays open: longer than a scheduler's worker usually
pauses, so that it seldom meets a connection that is just being closed."""


class StartError(Exception):
    """The backend can't start; the message names the variable to change."""


class _Server(uvicorn.Server):
    """uvicorn, except that a signal to stop also ends the long polls."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        app = self.config.app
        assert isinstance(app, FastAPI)
        services: Services = app.state.services
        services.waiters.close()
        super().handle_exit(sig, frame)


def main() -> int:
    """Serve; return the exit code."""
    try:
        settings = load()
        logs.configure(settings.log_level, settings.log_format)
        return _serve(settings)
    except (BackendSettingsError, StartError) as error:
        print(f"bionewsbot.backend: {error}", file=sys.stderr)
        return 1


def _serve(settings: BackendSettings) -> int:
    with _bound(settings) as listener:
        app = create_app(
            _migrated(settings),
            sources(),
            api_key=settings.api_key,
            analysis_concurrency=settings.analysis_concurrency,
        )
        _warn_if_open(settings)
        server = _Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="on",
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=GRACE,
            )
        )
        # uvicorn raises the signal once more when it is done; this makes a stop on request end
        # with code 0.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(server, "should_exit", True))
        server.run(sockets=[listener])
    return 0 if server.started else 1


def _warn_if_open(settings: BackendSettings) -> None:
    if settings.is_public and settings.api_key is None:
        logger.warning(
            "api_open_to_everyone",
            extra={"host": settings.host, "mend": "set BACKEND_API_KEY"},
        )


def _bound(settings: BackendSettings) -> socket.socket:
    place = f"{settings.host}:{settings.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM
        )[0]
        # With the protocol that getaddrinfo names: asyncio sets TCP_NODELAY only then.
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StartError(
            f"BACKEND_HOST={settings.host}: {error.strerror}; set it to an address of this machine"
        ) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Tells at once whether another process listens there, even one that shares addresses.
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise StartError(
                f"BACKEND_PORT={settings.port}: can't listen on {place} ({error.strerror}); "
                "set it to a free port"
            ) from error
        raise StartError(
            f"BACKEND_HOST={settings.host}: can't listen on {place} ({error.strerror}); "
            "set it to an address of this machine"
        ) from error
    return listener


def _migrated(settings: BackendSettings) -> Database:
    try:
        database = Database(settings.database_url)
        database.migrate()
    except DatabaseUnusable as error:
        shown = without_password(settings.database_url)
        raise StartError(f"BACKEND_DATABASE_URL={shown}: {error}") from error
    return database


if __name__ == "__main__":
    sys.exit(main())
