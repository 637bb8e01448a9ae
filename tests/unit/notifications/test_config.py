"""notifications.yaml: what is read from it, and what is said of a wrong one."""

from pathlib import Path

import pytest
from support.stack import ROOT

from bionewsbot.errors import ChannelUnknown, NotificationsFileError
from bionewsbot.notifications import config
from bionewsbot.notifications.config import Notifications, load_notifications
from bionewsbot.notifications.notices import Notice

ADDRESS = "json://127.0.0.1:1/S3CRETT0KEN"
CHANNELS = "channels:\n  team: {url_env: TEAM_URL}\n  ops: {url_env: OPS_URL}\n"


def load(folder: Path, text: str) -> Notifications:
    """Write the text to a file and load it."""
    path = folder / "notifications.yaml"
    path.write_text(text, encoding="utf-8")
    return load_notifications(path)


def complaints(folder: Path, text: str) -> list[str]:
    """Load a wrong file; return the error's lines without the file's name."""
    with pytest.raises(NotificationsFileError) as raised:
        load(folder, text)
    assert "S3CRET" not in str(raised.value)
    return [
        line.removeprefix(f"{folder}/notifications.yaml:") for line in str(raised.value).split("\n")
    ]


@pytest.fixture(autouse=True)
def addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The channels' addresses stand in the environment."""
    monkeypatch.setenv("TEAM_URL", ADDRESS)
    monkeypatch.setenv("OPS_URL", ADDRESS)


def alert(company: str, severity: str) -> Notice:
    """Return a notice of an alert."""
    return Notice.from_dict(
        {
            "id": f"alert/{company}/1",
            "event": "alert",
            "title": "t",
            "body": "b",
            "company": company,
            "severity": severity,
        }
    )


def test_rules_choose_channels(tmp_path: Path) -> None:
    """By event, severity at least, and company; each channel once, in the order of the rules."""
    found = load(
        tmp_path,
        CHANNELS + "rules:\n"
        "  - {events: [alert], severity: high, channels: [team]}\n"
        "  - {events: [alert, run_failed], companies: [GILD], channels: [ops, team]}\n"
        "  - {events: [run_failed], channels: [ops]}\n",
    )
    assert found.ways(alert("PFE", "medium")) == ()
    assert found.ways(alert("PFE", "high")) == ("team",)
    assert found.ways(alert("PFE", "critical")) == ("team",)
    assert found.ways(alert("GILD", "low")) == ("ops", "team")
    assert found.ways(alert("GILD", "high")) == ("team", "ops")
    # It isn't about a company: that a rule names some doesn't keep its other events back.
    assert found.ways(Notice("1", "run_failed", "t", "b")) == ("ops", "team")
    assert found.ways(Notice("1", "run_partial", "t", "b")) == ()
    assert found.events == {"alert", "run_failed"}


def test_a_channel_does_not_tell_of_its_own_failure(tmp_path: Path) -> None:
    """A dead letter of a channel goes by the others."""
    found = load(tmp_path, CHANNELS + "rules:\n  - {events: [dead_letters], channels: [team, ops]}")
    assert found.ways(Notice("1", "dead_letters", "t", "b", not_by="team")) == ("ops",)


@pytest.mark.parametrize("text", ["", "# nothing\n", "channels:\nrules:\n"])
def test_a_file_without_rules_tells_nobody(tmp_path: Path, text: str) -> None:
    """Empty, comments alone, or keys without values."""
    found = load(tmp_path, text)
    assert (found.channels, found.rules, found.events) == ({}, (), frozenset())


def test_without_a_file_nobody_is_told(configured: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process in a folder without one has no rules."""
    configured.setenv("BIONEWSBOT_CONFIG_DIR", str(tmp_path))
    assert config.notifications().rules == ()


def test_the_shipped_file_tells_nobody_and_its_example_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it is comments; without them it loads and knows every event."""
    path = ROOT / "config" / "notifications.yaml"
    assert load_notifications(path).rules == ()
    lines = path.read_text(encoding="utf-8").splitlines()
    example = lines[lines.index("# channels:") :]
    monkeypatch.setenv("ANALYSTS_URL", ADDRESS)
    monkeypatch.setenv("OPERATORS_URL", ADDRESS)
    found = load(tmp_path, "\n".join(line[2:] for line in example))
    assert set(found.channels) == {"analysts", "operators"}
    assert found.events == {
        *("alert", "report_ready", "run_failed", "run_partial", "occurrence_missed"),
        *("dead_letters", "breaker_open"),
    }


def test_an_address_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """<VARIABLE>_FILE names it, as with the other secrets."""
    (tmp_path / "address").write_text(f"{ADDRESS}\n")
    monkeypatch.delenv("TEAM_URL")
    monkeypatch.setenv("TEAM_URL_FILE", str(tmp_path / "address"))
    found = load(tmp_path, CHANNELS)
    assert found.channel("team").shown == "json://***"


def test_an_address_from_the_env_file(configured: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`.env` in the working directory counts, as for every setting."""
    configured.delenv("TEAM_URL")
    (tmp_path / ".env").write_text(f"TEAM_URL={ADDRESS}\n")
    assert load(tmp_path, CHANNELS).channel("team").shown == "json://***"


def test_a_channel_that_is_gone(tmp_path: Path) -> None:
    """The error names those that are there."""
    with pytest.raises(ChannelUnknown, match="no channel 'tame'; it has team, ops"):
        load(tmp_path, CHANNELS).channel("tame")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- alert\n", ["1: begin with `channels:` and `rules:`"]),
        ("rulez: []\n", ["1: unknown key 'rulez': is it 'rules'?"]),
        ("channels: [a]\n", ["1: channels: write each as `name: {url_env: VARIABLE}`"]),
        (
            "channels:\n  a b: {url_env: TEAM_URL}\n",
            ["2: channel 'a b': a name is up to 40 letters, digits, '_' and '-'"],
        ),
        ("channels:\n  a: json://x\n", ["2: channel 'a': must have url_env"]),
        (
            "channels:\n  a:\n    url: json://x\n",
            [
                "2: channel 'a': url_env: is missing",
                "3: channel 'a': unknown key 'url': is it 'url_env'?",
            ],
        ),
        (
            CHANNELS + "rules:\n  - events: []\n    channels: []\n",
            [
                "5: rule 1: events: must name at least one",
                "6: rule 1: channels: must name at least one",
            ],
        ),
        ("rules: {}\n", ["1: rules: must be a list (`- events: [...]`)"]),
        ("rules:\n  - alert\n", ["2: rule 1: must have events, channels, severity, companies"]),
        (
            CHANNELS + "rules:\n  - events: [alarm]\n    channels: [team]\n",
            [
                "5: rule 1: events: 'alarm' is not one of alert, report_ready, run_failed, "
                "run_partial, occurrence_missed, dead_letters, breaker_open"
            ],
        ),
        (
            CHANNELS + "rules:\n  - events: [alert]\n    channels: [team, tame]\n",
            ["6: rule 1: no channel 'tame': is it 'team'?"],
        ),
        (
            CHANNELS + "rules:\n  - events: [alert]\n    channel: [team]\n",
            [
                "5: rule 1: channels: is missing",
                "6: rule 1: unknown key 'channel': is it 'channels'?",
            ],
        ),
        (
            CHANNELS + "rules:\n  - events: [alert]\n    channels: [team]\n    severity: urgent\n",
            ["7: rule 1: severity: 'urgent' is not one of low, medium, high, critical"],
        ),
        (
            CHANNELS
            + "rules:\n  - events: [run_failed]\n    channels: [ops]\n    severity: high\n",
            ["7: rule 1: severity: only alerts have one; its events don't"],
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, said: list[str]) -> None:
    """Each problem in one line that names the mend."""
    assert complaints(tmp_path, text) == said


def test_an_address_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset, unreadable and wrong ones at once, by line; no address is shown."""
    monkeypatch.delenv("TEAM_URL")
    monkeypatch.setenv("OPS_URL_FILE", str(tmp_path / "gone"))
    monkeypatch.delenv("OPS_URL")
    monkeypatch.setenv("BAD_URL", "no-scheme/S3CRETT0KEN")
    monkeypatch.setenv("TWO_URL", f"{ADDRESS}, {ADDRESS}")
    assert complaints(
        tmp_path, CHANNELS + "  bad: {url_env: BAD_URL}\n  two: {url_env: TWO_URL}\n"
    ) == [
        "2: channel 'team': neither TEAM_URL nor TEAM_URL_FILE is set",
        f"3: channel 'ops': OPS_URL_FILE={tmp_path}/gone: must be the path of a readable file "
        "(No such file or directory)",
        "4: channel 'bad': what BAD_URL holds is not one address that apprise takes, such as "
        "slack://... or mailtos://",
        "5: channel 'two': what TWO_URL holds is not one address that apprise takes, such as "
        "slack://... or mailtos://",
    ]
