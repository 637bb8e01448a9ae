"""In CI, where .ci/run installs what tests need, a skipped test fails the session."""

import os

import pytest


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn a session that would pass with skips into a failed one."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if os.environ.get("CI") and skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what failed the session; `-ra` prints the reasons below."""
    skipped = terminalreporter.stats.get("skipped", [])
    if os.environ.get("CI") and skipped:
        terminalreporter.line(
            f"{len(skipped)} skipped, which fails in CI: let .ci/run install what they need.",
            red=True,
        )
