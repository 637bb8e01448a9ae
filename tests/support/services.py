"""Slack and Teams by their own names, over TLS: a proxy on 127.0.0.1 answers in their place.

What calls them needs no change, only the variables of `environment`.
"""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from support.channels import TOKEN
from support.faulty_backend import FaultyBackend, Received, Reply, handler

SLACK_HOST = "hooks.slack.com"
TEAMS_HOST = "prod-16.westeurope.logic.azure.com"
POWER_HOST = "default1a2b.3c.environment.api.powerplatform.com"

PATIENT = "rto=600&cto=600"
"""So that a busy machine is no outage."""

SLACK = f"https://{SLACK_HOST}/services/T1JJ3T3L2/A1BRTD4JD/{TOKEN}?{PATIENT}"
"""An incoming webhook's URL as Slack shows it."""

TEAMS = (
    f"https://{TEAMS_HOST}:443/workflows/643e69f83c89/triggers/manual/paths/invoke"
    f"?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig={TOKEN}"
    f"&{PATIENT}"
)
"""A workflow's URL as Power Automate showed it until 2025."""

POWER = (
    f"https://{POWER_HOST}:443/powerautomate/automations/direct/workflows/643e69f83c89"
    f"/triggers/manual/paths/invoke?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig={TOKEN}"
    f"&{PATIENT}"
)
"""The same as it is shown since."""

SLACK_OK = Reply(200, b"ok", content_type="text/html")
TEAMS_OK = Reply(202, b"")


class Services(FaultyBackend):
    """The proxy; its script is by method and path, whatever the host."""

    def __init__(self, folder: Path) -> None:
        """Bind a free port; the authority that signed the hosts' certificates lies in `folder`."""
        super().__init__()
        hosts = (SLACK_HOST, TEAMS_HOST, POWER_HOST)
        authority = trustme.CA()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*hosts).configure_cert(tls)
        bundle = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(bundle))
        self.environment = {
            "HTTPS_PROXY": self.url,
            "https_proxy": self.url,
            "REQUESTS_CA_BUNDLE": str(bundle),
        }
        self._server.RequestHandlerClass = _handler(self, tls, hosts)

    def slack(self, *replies: Reply) -> None:
        """Answer the webhook with the replies in turn."""
        self.on("POST", f"/services/T1JJ3T3L2/A1BRTD4JD/{TOKEN}", *replies)

    def teams(self, *replies: Reply) -> None:
        """Answer both forms of the workflow's URL with the replies in turn."""
        tail = "/workflows/643e69f83c89/triggers/manual/paths/invoke"
        self.on("POST", tail, *replies)
        self.on("POST", f"/powerautomate/automations/direct{tail}", *replies)

    def got(self, host: str) -> list[Received]:
        """Return what was sent to a host."""
        return [one for one in list(self.received) if one.headers["Host"].startswith(host)]


def _handler(services: Services, tls: ssl.SSLContext, hosts: tuple[str, ...]) -> type:
    class Handler(handler(services)):  # type: ignore[misc]
        def do_CONNECT(self) -> None:
            if self.path.rpartition(":")[0] not in hosts:
                self.send_error(502)
                return
            self.send_response(200)
            self.end_headers()
            super().finish()
            self.connection = tls.wrap_socket(self.connection, server_side=True)
            self.rfile = self.connection.makefile("rb")
            self.wfile = self.connection.makefile("wb", buffering=0)
            self.close_connection = False

        def finish(self) -> None:
            super().finish()
            self.connection.close()

    return Handler


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """Yield a running proxy without a script."""
    with Services(tmp_path).serving() as proxy:
        assert isinstance(proxy, Services)
        yield proxy
