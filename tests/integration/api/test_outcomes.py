"""What the client makes of each outcome of a call, on a real server that misbehaves on purpose."""

import gzip
import socket
from collections.abc import Iterator

import pytest
from support.answers import analysis, problem
from support.faulty_backend import FaultyBackend, Reply
from support.polling import PATIENCE

from bionewsbot.api import transport
from bionewsbot.api.client import BackendClient
from bionewsbot.errors import (
    BackendRefused,
    BackendUnavailable,
    BioNewsBotError,
    MalformedAnswer,
    PermanentError,
    RetryableError,
)

PATH = "/api/v1/analyses/42"
CALL = f"GET {PATH}"
KEY = "secret-key-of-this-test"


@pytest.fixture
def client(faulty_backend: FaultyBackend) -> Iterator[BackendClient]:
    """Yield a client that waits for long."""
    with BackendClient(faulty_backend.url, api_key=KEY, timeout=PATIENCE) as client:
        yield client


@pytest.fixture
def impatient(faulty_backend: FaultyBackend) -> Iterator[BackendClient]:
    """Yield a client that waits 1 s at most, with one connection."""
    with BackendClient(faulty_backend.url, api_key=KEY, timeout=1, pool_size=1) as client:
        yield client


def outcome(client: BackendClient) -> BioNewsBotError:
    """Make the call, return the error that it raised."""
    with pytest.raises(BioNewsBotError) as raised:
        client.analysis("42")
    assert KEY not in str(raised.value)
    assert "\n" not in str(raised.value)
    return raised.value


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 410, 422, 451])
def test_4xx_is_permanent(
    client: BackendClient, faulty_backend: FaultyBackend, status: int
) -> None:
    """A 4xx that no retry mends is refused for good, in the backend's own words."""
    faulty_backend.on("GET", PATH, Reply(status, problem(status)))
    error = outcome(client)
    assert type(error) is BackendRefused
    assert isinstance(error, PermanentError)
    assert error.status == status
    assert str(error).startswith(f"{CALL}: {status} ")
    assert str(error).endswith(": Not now: the database is being moved")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 599])
def test_other_errors_are_retryable(
    client: BackendClient, faulty_backend: FaultyBackend, status: int
) -> None:
    """408, 425, 429 and every 5xx may pass, whatever their body says."""
    faulty_backend.on("GET", PATH, Reply(status, problem(status, retryable=False)))
    error = outcome(client)
    assert type(error) is BackendUnavailable
    assert isinstance(error, RetryableError)
    assert error.status == status
    assert error.retry_after is None
    assert str(error).startswith(f"{CALL}: {status}")


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(
    client: BackendClient, faulty_backend: FaultyBackend, status: int
) -> None:
    """The seconds of Retry-After reach the task."""
    faulty_backend.on("GET", PATH, Reply(status, problem(status), headers={"Retry-After": "17"}))
    error = outcome(client)
    assert isinstance(error, BackendUnavailable)
    assert error.retry_after == 17


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_refused_and_not_followed(
    client: BackendClient, faulty_backend: FaultyBackend, status: int
) -> None:
    """A redirect would carry the key elsewhere: it ends the call and names the setting to mend."""
    headers = {"Location": f"{faulty_backend.url}/elsewhere"}
    faulty_backend.on("GET", PATH, Reply(status, b"", headers=headers))
    error = outcome(client)
    assert isinstance(error, BackendRefused)
    assert error.status == status
    assert "/elsewhere" in str(error)
    assert "API_BASE_URL" in str(error)
    assert [request.path for request in faulty_backend.received] == [PATH]


@pytest.mark.parametrize("status", [600, 799])
def test_status_beyond_http_is_malformed(
    client: BackendClient, faulty_backend: FaultyBackend, status: int
) -> None:
    """A status that HTTP does not define has an error of its own too."""
    faulty_backend.on("GET", PATH, Reply(status, b""))
    error = outcome(client)
    assert type(error) is MalformedAnswer
    assert str(status) in str(error)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b""),
        Reply(status=204, body=b""),
        Reply(body=b"<html>Welcome</html>", content_type="text/html"),
        Reply(body=b'{"id": "42", '),
        Reply(body=b"\xff\xfe{}"),
    ],
    ids=["empty", "no-content", "html", "half", "not-utf-8"],
)
def test_body_that_is_not_json(
    client: BackendClient, faulty_backend: FaultyBackend, reply: Reply
) -> None:
    """A 2xx whose body isn't JSON is malformed, and its beginning is shown."""
    faulty_backend.on("GET", PATH, reply)
    error = outcome(client)
    assert type(error) is MalformedAnswer
    assert str(error).startswith(f"{CALL}: the answer's body is not JSON: ")


@pytest.mark.parametrize("chunked", [False, True])
def test_truncated_body(
    client: BackendClient, faulty_backend: FaultyBackend, chunked: bool
) -> None:
    """A 2xx that breaks off is malformed, even where the part that came is JSON."""
    body = b'{"id": "42"}' + b" " * 100
    faulty_backend.on("GET", PATH, Reply(body=body, cut_after=30, chunked=chunked))
    error = outcome(client)
    assert type(error) is MalformedAnswer
    assert "breaks off" in str(error)


def test_garbled_compression(client: BackendClient, faulty_backend: FaultyBackend) -> None:
    """A body that can't be decompressed is malformed."""
    reply = Reply(body=b"not gzip at all", headers={"Content-Encoding": "gzip"})
    faulty_backend.on("GET", PATH, reply)
    assert type(outcome(client)) is MalformedAnswer


@pytest.mark.parametrize("chunked", [False, True])
def test_compressed_and_chunked_bodies_are_read(
    client: BackendClient, faulty_backend: FaultyBackend, chunked: bool
) -> None:
    """Compression and chunks are undone before the answer is judged."""
    reply = Reply(body=gzip.compress(Reply(body=analysis()).payload()), chunked=chunked)
    encoded = Reply(body=reply.body, chunked=chunked, headers={"Content-Encoding": "gzip"})
    faulty_backend.on("GET", PATH, encoded)
    assert client.analysis("42").id == "42"


def test_endless_answer_is_cut(
    client: BackendClient, faulty_backend: FaultyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer beyond the limit is given up on instead of filling the memory."""
    monkeypatch.setattr(transport, "MAX_ANSWER_BYTES", 1000)
    faulty_backend.on("GET", PATH, Reply(body=b" " * 2000))
    error = outcome(client)
    assert type(error) is MalformedAnswer
    assert "over 1000 bytes" in str(error)


@pytest.mark.parametrize("status", [403, 503])
@pytest.mark.parametrize(
    "fault",
    [{"cut_after": 1}, {"stall_after": 1}, {"content_type": "text/html"}],
    ids=["cut", "stalled", "html"],
)
def test_status_decides_when_the_error_body_is_unreadable(
    impatient: BackendClient, faulty_backend: FaultyBackend, status: int, fault: dict[str, int]
) -> None:
    """An error keeps its meaning although nobody can read its explanation."""
    faulty_backend.on("GET", PATH, Reply(status, b"<html>no</html>", **fault))
    error = outcome(impatient)
    assert isinstance(error, BackendRefused | BackendUnavailable)
    assert error.status == status
    assert "html" not in str(error)


def test_long_explanation_is_cut(client: BackendClient, faulty_backend: FaultyBackend) -> None:
    """The backend's own words take 500 characters and one line at most."""
    faulty_backend.on("GET", PATH, Reply(422, problem(422, detail="word\n" * 1000)))
    said = str(outcome(client)).removeprefix(f"{CALL}: 422 ").split(": ", 1)[1]
    assert len(said) == 500
    assert said.endswith("...")


def test_refused_connection() -> None:
    """Where nothing listens, the error names the host, the system's reason and the setting."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        url = f"http://user:{KEY}@127.0.0.1:{probe.getsockname()[1]}"
        with BackendClient(url) as client:
            error = outcome(client)
    assert type(error) is BackendUnavailable
    assert error.status is None
    assert str(error).startswith(f"{CALL}: Connection refused (is the backend at http://127.0.0.1:")
    assert "API_BASE_URL" in str(error)


def test_unknown_host() -> None:
    """A host that has no address is unavailable."""
    with BackendClient("http://backend.invalid:8000") as client:
        assert type(outcome(client)) is BackendUnavailable


def test_reset_connection(client: BackendClient, faulty_backend: FaultyBackend) -> None:
    """A connection that is reset is unavailable."""
    faulty_backend.on("GET", PATH, Reply(reset=True))
    error = outcome(client)
    assert type(error) is BackendUnavailable
    assert "reset" in str(error)


def test_something_that_is_not_http() -> None:
    """A server that speaks another protocol is unavailable."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        with BackendClient(f"https://127.0.0.1:{server.getsockname()[1]}", timeout=0.3) as client:
            assert type(outcome(client)) is BackendUnavailable


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(silent=True), "no answer within 1 s"),
        (Reply(body=analysis(), stall_after=5), "the answer stopped after 5 bytes"),
        (Reply(trickle=True), "the answer took more than 1 s to arrive"),
    ],
    ids=["silent", "stalled", "trickling"],
)
def test_time_outs(
    impatient: BackendClient, faulty_backend: FaultyBackend, reply: Reply, said: str
) -> None:
    """A backend that is silent, falls silent or never ends its answer is unavailable."""
    faulty_backend.on("GET", PATH, reply)
    error = outcome(impatient)
    assert type(error) is BackendUnavailable
    assert said in str(error)


def test_client_works_on_after_every_fault(
    impatient: BackendClient, faulty_backend: FaultyBackend
) -> None:
    """No fault leaves a connection behind that the next call would trip over or wait for."""
    faults = [
        Reply(503, problem(503)),
        Reply(body=analysis(), cut_after=3),
        Reply(reset=True),
        Reply(silent=True),
        Reply(trickle=True),
        Reply(301, b"", headers={"Location": "/x"}),
        Reply(body=b"<html>"),
    ]
    faulty_backend.on("GET", PATH, *faults, Reply(body=analysis()))
    for _ in faults:
        outcome(impatient)
    assert impatient.analysis("42").id == "42"
