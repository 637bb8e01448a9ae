"""What every request passes through: its id, its log line, the key, the last resort."""

import hmac
import logging
import re
import time
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bionewsbot.backend import problems
from bionewsbot.backend.logs import request_id
from bionewsbot.backend.problems import Problem

logger = logging.getLogger(__name__)

HEADER = "X-Request-ID"
ACCEPTABLE_ID = re.compile(r"[\x21-\x7e]{1,128}")
"""Visible ASCII, so that an id can stand in a header and a log line as it is."""

QUIET_PATHS = frozenset({"/livez", "/readyz"})
"""Probes ask several times a minute; their lines are for debugging only."""


class RequestContext:
    """Gives the request its id, logs its end, turns what nobody caught into a 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = _header(scope, HEADER)
        current = given if ACCEPTABLE_ID.fullmatch(given) else uuid.uuid4().hex
        # Never reset: uvicorn runs each request in a task of its own, and what it logs after the
        # application's end still belongs to the request.
        request_id.set(current)
        status: int | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = (HEADER.lower().encode(), current.encode())
                message["headers"] = [*message.get("headers", []), own]
            await send(message)

        began = time.monotonic()
        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            logger.exception("request_failed", extra=_fields(scope))
            if status is None:
                await problems.response(
                    Problem(500, "The backend failed; its log has the cause under the request id")
                )(scope, receive, send_with_id)
        level = logging.DEBUG if scope["path"] in QUIET_PATHS else logging.INFO
        fields = _fields(scope) | {
            "status": status,
            "duration": round(time.monotonic() - began, 4),
        }
        logger.log(level, "request_complete", extra=fields)


class ApiKey:
    """Lets a call under /api pass only with `Authorization: Bearer <key>`."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "http" and scope["path"].startswith("/api/"):
            scheme, _, token = _header(scope, "Authorization").partition(" ")
            known = hmac.compare_digest(token.strip().encode(), self._key)
            if scheme.lower() != "bearer" or not known:
                await problems.response(
                    Problem(
                        401,
                        "Send the backend's key (BACKEND_API_KEY) as 'Authorization: Bearer KEY'",
                        kind="key",
                        headers={"WWW-Authenticate": "Bearer"},
                    )
                )(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _header(scope: Scope, name: str) -> str:
    wanted = name.lower().encode()
    for key, value in scope["headers"]:
        if key == wanted:
            return str(value.decode("latin-1"))
    return ""


def _fields(scope: Scope) -> dict[str, str]:
    return {"method": scope["method"], "path": scope["path"]}
