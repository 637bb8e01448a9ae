"""What goes wrong, as RFC 9457 problem documents.

`retryable` follows the contract: 408, 425, 429 and 5xx may succeed later, nothing else does.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRYABLE_STATUSES = frozenset({408, 425, 429})

RETRY_AFTER = 5
"""Seconds after which a caller may come back on 429 and 503: a restart takes about as long."""


class Problem(Exception):
    """An answer other than success: becomes a problem document.

    `kind` is a short name for `type`; `detail` names the place and the mend; `more` are further
    members of the document.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str | None = None,
        more: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind
        self.more = dict(more or {})
        self.headers = dict(headers or {})


def is_retryable(status: int) -> bool:
    """Return whether the contract lets a caller try the same call again."""
    return status in RETRYABLE_STATUSES or status >= 500


def response(problem: Problem) -> JSONResponse:
    """Return the problem as an HTTP response."""
    headers = dict(problem.headers)
    if problem.status in (429, 503):
        headers.setdefault("Retry-After", str(RETRY_AFTER))
    return JSONResponse(
        {
            "type": f"urn:bionewsbot:problem:{problem.kind}" if problem.kind else "about:blank",
            "title": HTTPStatus(problem.status).phrase,
            "status": problem.status,
            "detail": problem.detail,
            "retryable": is_retryable(problem.status),
            **problem.more,
        },
        status_code=problem.status,
        headers=headers,
        media_type=MEDIA_TYPE,
    )


def install(app: FastAPI) -> None:
    """Make every error of the app a problem document."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(DataError, _on_data_error)
    for unusable in (OperationalError, InterfaceError, PoolTimeout):
        app.add_exception_handler(unusable, _on_unusable_database)


async def _on_problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return response(error)


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors = [
        {"location": ".".join(str(part) for part in item["loc"]), "message": str(item["msg"])}
        for item in error.errors()
    ]
    said = "; ".join(f"{item['location']}: {item['message']}" for item in errors)
    return response(
        Problem(422, f"Correct the request: {said}", kind="invalid", more={"errors": errors})
    )


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    detail = str(error.detail)
    if error.status_code == 404:
        detail = f"Nothing is at {request.url.path}; /docs lists the calls"
    elif error.status_code == 405:
        detail = f"{request.method} isn't possible on {request.url.path}; /docs lists the calls"
    elif error.status_code == 400:
        # FastAPI's only 400 is a body that it can't read.
        return response(Problem(422, f"Correct the request: body: {detail}", kind="invalid"))
    return response(Problem(error.status_code, detail, headers=error.headers))


async def _on_data_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DataError)
    return response(Problem(422, f"The database can't hold a value of this request: {error.orig}"))


async def _on_unusable_database(request: Request, error: Exception) -> JSONResponse:
    logger.error("database_unusable", extra={"error": str(error)})
    return response(
        Problem(503, "The database isn't usable at the moment; try again later", kind="database")
    )
