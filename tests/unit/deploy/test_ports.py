"""deploy/local/ports.py: what is said of a port that can't be had."""

import socket
from collections.abc import Iterator

import pytest
from support.ports import free_port

from deploy.local import ports
from deploy.local.errors import LocalError
from deploy.local.stack import Listener


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def flower(port: int) -> Listener:
    """Flower's listener."""
    return Listener("flower", "127.0.0.1", port, "FLOWER_PORT")


def test_taken_port_is_one_line_with_its_variable(taken: int) -> None:
    """The line names the port and the variable that moves it."""
    with pytest.raises(LocalError) as caught:
        ports.check([flower(taken)], running=())
    assert str(caught.value) == f"Port {taken} is taken; set FLOWER_PORT in .env to a free one."


def test_taken_port_of_a_url(taken: int) -> None:
    """API_BASE_URL is an address, so that is what is asked for."""
    with pytest.raises(LocalError, match="set API_BASE_URL in .env to an address with a free one"):
        ports.check([Listener("backend", "127.0.0.1", taken, "API_BASE_URL")], running=())


def test_own_port_is_no_problem(taken: int) -> None:
    """A program that already runs holds its port by right."""
    ports.check([flower(taken)], running={"flower"})


def test_free_port_is_no_problem() -> None:
    """A free port is left as it was: free."""
    port = free_port()
    ports.check([flower(port)], running=())
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))


def test_two_for_one_port() -> None:
    """Two programs that ask for the same port are told so before either starts."""
    port = free_port()
    other = Listener("exporter", "127.0.0.1", port, "PROMETHEUS_PORT")
    with pytest.raises(LocalError) as caught:
        ports.check([flower(port), other], running=())
    assert str(caught.value) == (
        f"FLOWER_PORT and PROMETHEUS_PORT both ask for port {port}; "
        "set PROMETHEUS_PORT in .env to another one."
    )


def test_all_problems_at_once(taken: int) -> None:
    """Two taken ports are two lines, not two tries."""
    with socket.socket() as second:
        second.bind(("127.0.0.1", 0))
        second.listen()
        redis = Listener("redis", "127.0.0.1", second.getsockname()[1], "REDIS_PORT")
        with pytest.raises(LocalError) as caught:
            ports.check([redis, flower(taken)], running=())
    assert len(str(caught.value).splitlines()) == 2
