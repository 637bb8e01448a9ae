"""Carries one call to the Backend API and turns its outcome into an answer or one of our errors.

The rules are those of docs/backend_api.md, "What a worker makes of an answer". Nothing is retried
here: that is the task's business, which alone knows how long it may take.
"""

import re
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import NoReturn, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
from pydantic import BaseModel, ValidationError
from requests.adapters import HTTPAdapter

from bionewsbot.api.breaker import Breaker
from bionewsbot.api.rate import WAIT_TO_BEGIN, WAIT_TO_GO_ON, RateLimit
from bionewsbot.errors import BackendRefused, BackendUnavailable, MalformedAnswer, SettingsError
from bionewsbot.settings import LOOPBACK_HOSTS
from bionewsbot.validation import dotted, problems, shorten

CONNECT_TIMEOUT = 3.05
"""Seconds to connect: a little over 3, the wait after which TCP sends a lost SYN again."""

TRIAL_MARGIN = 5.0
"""Seconds beyond a call's time-outs after which the breaker's trial is given to another call."""

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Longest answer that is read. A page has at most 500 items, so this leaves 128 KiB for each."""

MAX_SAID = 500
"""Characters of the backend's own words in an error."""

MAX_PROBLEMS = 5
"""Problems of a malformed answer that its error lists; one mistake often repeats in every item."""

RETRYABLE_STATUSES = (408, 425, 429)
"""Retryable besides all of 5xx."""

_CHUNK_BYTES = 64 * 1024

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """A 2xx answer. `call` is the method and path that errors name."""

    call: str
    status: int
    body: bytes

    def read(self, model: type[M]) -> M:
        """Return the body as `model`. Raises MalformedAnswer, which names the wrong fields."""
        try:
            return model.model_validate_json(self.body, strict=True)
        except ValidationError as error:
            found = problems(error)
            if found[0].kind == "json_invalid":
                start = self.body[:60].decode("utf-8", "replace")
                raise MalformedAnswer(
                    f"{self.call}: the answer's body is not JSON: {len(self.body)} bytes "
                    f"that begin with {start!r}"
                ) from error
            said = [
                f"{dotted(problem.place)}: {problem.text}" if problem.place else problem.text
                for problem in found[:MAX_PROBLEMS]
            ]
            if len(found) > MAX_PROBLEMS:
                said.append(f"and {len(found) - MAX_PROBLEMS} more")
            raise MalformedAnswer(f"{self.call}: {'; '.join(said)}") from error


class Transport:
    """One pool of connections to one backend, for all threads of a process.

    Make it after a fork: two processes must not share its sockets.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None,
        timeout: float,
        pool_size: int,
        request_id: Callable[[], str | None],
        breaker: Breaker | None = None,
        rate: RateLimit | None = None,
    ) -> None:
        """Prepare the pool; connects on first use. Raises SettingsError.

        `timeout` (seconds) bounds the wait for an answer to begin and, once more, for it to end.
        Where all `pool_size` connections are in use, a call waits for one. With a `breaker` no
        call is made while it is open, with a `rate` none beyond that.
        """
        self._base_url = base_url.rstrip("/")
        self._timeout = timeout
        self._request_id = request_id
        self._breaker = breaker
        self._rate = rate
        try:
            requests.Request("GET", self._base_url).prepare()
        except ValueError as error:  # as all of requests' complaints about URLs are
            raise SettingsError(
                "API_BASE_URL: must be a URL such as http://localhost:8000"
            ) from error
        parts = urlsplit(self._base_url)
        self._host = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        # The proxy that the environment names for the internet can't reach our own loopback.
        host = parts.hostname or ""
        self._proxies = {"no_proxy": host} if host in LOOPBACK_HOSTS else None
        self._session = _session(pool_size, api_key)

    @property
    def longest_call(self) -> float:
        """The most seconds that a call takes once it is made, without a long poll's own wait."""
        # For the answer to begin, for it to end, and for the last piece that begins before that.
        return CONNECT_TIMEOUT + 3 * self._timeout + TRIAL_MARGIN

    @property
    def longest_line(self) -> float:
        """The most seconds that a call stands in line for room in the limit of calls."""
        return WAIT_TO_GO_ON if self._rate is not None else 0.0

    def close(self) -> None:
        """Close the pool's connections."""
        self._session.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        read: Callable[[Answer], T],
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        idempotency_key: str | None = None,
        if_match: str | None = None,
        wait: float = 0,
        goes_on: bool = False,
    ) -> T:
        """Make one call and return what `read` makes of its 2xx answer.

        `body` is JSON, `if_match` an ETag as the backend gave it. With `wait` it is a long poll of
        that many seconds; the breaker's trial asks for an answer at once, since all other calls
        wait for its outcome. A call that `goes_on` with what earlier ones began waits longer for
        room in the limit. Raises BackendUnavailable,
        BackendRefused, MalformedAnswer, CircuitOpen or RateLimited, each naming method and path.
        """
        call = f"{method} {path}"
        # First, so that neither the breaker's trial nor the call's time-outs run meanwhile.
        if self._rate is not None:
            self._rate.enter(call, seconds=WAIT_TO_GO_ON if goes_on else WAIT_TO_BEGIN)
        guard = self._breaker and self._breaker.calling(call, seconds=self.longest_call)
        # What can't be read is a failure of the backend too, so that is done inside.
        with guard or nullcontext(False) as is_trial:
            patience = 0 if is_trial else wait
            asked = {**(params or {}), "wait": f"{patience:g}"} if patience else params
            extra = {"Idempotency-Key": idempotency_key, "If-Match": if_match}
            return read(self._exchange(call, method, path, asked, body, extra, patience))

    def _exchange(
        self,
        call: str,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: bytes | None,
        extra: Mapping[str, str | None],
        wait: float,
    ) -> Answer:
        headers = {"X-Request-ID": self._request_id() or uuid.uuid4().hex}
        if body is not None:
            headers["Content-Type"] = "application/json"
        headers.update((name, value) for name, value in extra.items() if value is not None)
        patience = wait + self._timeout
        try:
            response = self._session.request(
                method,
                self._base_url + path,
                params=params,
                data=body,
                headers=headers,
                timeout=(CONNECT_TIMEOUT, patience),
                allow_redirects=False,
                stream=True,
                proxies=self._proxies,
            )
        except requests.ConnectTimeout as error:
            self._unreached(call, f"no connection within {CONNECT_TIMEOUT:g} s", error)
        except requests.ReadTimeout as error:
            self._unreached(call, f"no answer within {patience:g} s", error)
        except requests.ConnectionError as error:
            self._unreached(call, _reason(error), error)
        with response:
            if 200 <= response.status_code < 300:
                return Answer(call, response.status_code, self._body(call, response))
            self._refuse(call, response)

    def _unreached(self, call: str, reason: str, error: Exception) -> NoReturn:
        raise BackendUnavailable(
            f"{call}: {reason} (is the backend at {self._host} running, and API_BASE_URL right?)"
        ) from error

    def _body(self, call: str, response: requests.Response) -> bytes:
        """Read the body, piece by piece, so that one that trickles in for ever is given up on."""
        body = bytearray()
        end = time.monotonic() + self._timeout
        try:
            while piece := response.raw.read1(_CHUNK_BYTES, decode_content=True):
                body += piece
                if len(body) > MAX_ANSWER_BYTES:
                    raise MalformedAnswer(f"{call}: answered over {MAX_ANSWER_BYTES} bytes")
                if time.monotonic() > end:
                    raise BackendUnavailable(
                        f"{call}: the answer took more than {self._timeout:g} s to arrive"
                    )
        except urllib3.exceptions.ReadTimeoutError as error:
            raise BackendUnavailable(
                f"{call}: the answer stopped after {len(body)} bytes"
            ) from error
        except urllib3.exceptions.HTTPError as error:
            raise MalformedAnswer(
                f"{call}: the answer breaks off or is garbled after {len(body)} bytes"
            ) from error
        return bytes(body)

    def _refuse(self, call: str, response: requests.Response) -> NoReturn:
        """Raise what the contract says for a status that isn't 2xx."""
        status = response.status_code
        if 300 <= status < 400:
            target = shorten(response.headers.get("Location", "nowhere"))
            raise BackendRefused(
                f"{call}: {_named(status)}, to {target}: redirects are not followed, "
                "set API_BASE_URL to the final address",
                status=status,
            )
        try:
            said = _words(self._body(call, response))
        except (BackendUnavailable, MalformedAnswer):
            said = ""  # the status alone decides
        message = f"{call}: {_named(status)}" + (f": {said}" if said else "")
        if status in RETRYABLE_STATUSES or 500 <= status < 600:
            wait = retry_after(response.headers.get("Retry-After"), now=datetime.now(UTC))
            raise BackendUnavailable(message, retry_after=wait, status=status)
        if 400 <= status < 500:
            raise BackendRefused(message, status=status, etag=response.headers.get("ETag"))
        raise MalformedAnswer(f"{call}: status {status} is none that HTTP defines for an answer")


def retry_after(text: str | None, *, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for; None if it is absent or unreadable.

    It holds seconds or an HTTP date (RFC 9110, section 10.2.3); a date in the past means 0.
    """
    text = (text or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:  # "-0000", a zone that says nothing
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


class _Problem(BaseModel):
    """RFC 9457 problem+json, as far as a message needs it."""

    title: str = ""
    detail: str = ""


def _words(body: bytes) -> str:
    """Return what the backend said in an error's body, in one line; "" if it isn't problem+json."""
    try:
        problem = _Problem.model_validate_json(body)
    except ValidationError:
        return ""
    said = ": ".join(part for part in (problem.title, problem.detail) if part)
    return shorten(" ".join(said.split()), MAX_SAID)


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _reason(error: BaseException) -> str:
    """Return the operating system's own words, which requests and urllib3 wrap several times."""
    deepest = error
    while (cause := deepest.__cause__ or deepest.__context__) is not None:
        deepest = cause
    return getattr(deepest, "strerror", None) or str(deepest) or type(deepest).__name__


def _session(pool_size: int, api_key: str | None) -> requests.Session:
    session = requests.Session()
    if api_key is not None:
        session.auth = _bearer(api_key)
    # Cookies would be state that threads share.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers["Accept"] = "application/json, application/problem+json"
    adapter = HTTPAdapter(
        pool_connections=1, pool_maxsize=pool_size, max_retries=0, pool_block=True
    )
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def _bearer(api_key: str) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
    """Return what sets the Authorization header.

    As `auth` and not as a plain header, which an entry in ~/.netrc would silently replace.
    """
    if not re.fullmatch(r"[\x21-\x7e]+", api_key):
        raise SettingsError("API_KEY: must be visible ASCII characters without spaces or line ends")

    def authorise(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {api_key}"
        return request

    return authorise
