"""`notifications.yaml`: the channels, and the rules that say who is told of what."""

import re
from collections.abc import Collection
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from bionewsbot import settings as settings_module
from bionewsbot.api.models import Severity
from bionewsbot.errors import ChannelUnknown, NotificationsFileError, SettingsError
from bionewsbot.notifications.channels import Channel
from bionewsbot.notifications.notices import Event, Notice
from bionewsbot.validation import problems
from bionewsbot.yamlfile import Place, YamlFile

NOTIFICATIONS_FILE = "notifications.yaml"
"""Name of the file in the folder that BIONEWSBOT_CONFIG_DIR names."""

SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high", "critical")
"""From the least on."""

Model = TypeVar("Model", bound=BaseModel)


class ChannelEntry(BaseModel):
    """A channel as the file has it."""

    model_config = ConfigDict(frozen=True)

    url_env: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    """The variable that holds its address, or with `_FILE` behind it the name of a file that
    does."""


class Rule(BaseModel):
    """Who is told of what."""

    model_config = ConfigDict(frozen=True)

    events: tuple[Event, ...]
    channels: tuple[str, ...]
    severity: Severity | None = None
    """Alerts of this severity or above."""
    companies: tuple[str, ...] = ()
    """Alerts of these companies alone; none: of all."""

    def takes(self, notice: Notice) -> bool:
        """Whether the rule is about such a notice."""
        if notice.event not in self.events:
            return False
        if self.companies and notice.company and notice.company not in self.companies:
            return False
        least = SEVERITIES.index(self.severity) if self.severity else 0
        return notice.severity is None or SEVERITIES.index(notice.severity) >= least


class Notifications:
    """The file's channels and rules."""

    def __init__(self, channels: dict[str, Channel], rules: tuple[Rule, ...]) -> None:
        self.channels = channels
        self.rules = rules
        self.events = frozenset(event for rule in rules for event in rule.events)
        """What some rule is about."""

    def channel(self, name: str) -> Channel:
        """Return a channel by name. Raises ChannelUnknown."""
        if name not in self.channels:
            known = ", ".join(self.channels) or "none"
            raise ChannelUnknown(f"{NOTIFICATIONS_FILE} has no channel {name!r}; it has {known}")
        return self.channels[name]

    def strangers(self, known: Collection[str]) -> list[str]:
        """Say which companies the rules name that aren't among the `known` ids."""
        return [
            f"rule {number}: there is no company {one!r}"
            + (f": is it {close[0]!r}?" if close else "")
            for number, rule in enumerate(self.rules, 1)
            for one in rule.companies
            if one not in known
            for close in [get_close_matches(one, known, n=1)]
        ]

    def ways(self, notice: Notice) -> tuple[str, ...]:
        """Return the names of the channels that a notice is sent by, each once."""
        named = (name for rule in self.rules if rule.takes(notice) for name in rule.channels)
        return tuple(name for name in dict.fromkeys(named) if name != notice.not_by)


@lru_cache(maxsize=1)
def notifications() -> Notifications:
    """Return this process' channels and rules, read once; none where there is no file.

    Raises NotificationsFileError as `load_notifications` does.
    """
    path = settings_module.current().config_dir / NOTIFICATIONS_FILE
    return load_notifications(path) if path.exists() else Notifications({}, ())


def load_notifications(path: Path) -> Notifications:
    """Read the file, and the channels' addresses from the environment.

    Raises NotificationsFileError, which lists every problem with file and line.
    """
    file = YamlFile(path, NotificationsFileError)
    data = file.data if file.data is not None else {}
    if not isinstance(data, dict):
        file.refuse((), "begin with `channels:` and `rules:`")
        data = {}
    _refuse_unknown(file, (), data, ("channels", "rules"))
    channels = _channels(file, data.get("channels"))
    rules = _rules(file, data.get("rules"), channels)
    file.finish()
    return Notifications({name: one for name, one in channels.items() if one}, rules)


def _channels(file: YamlFile, data: Any) -> dict[str, Channel | None]:
    if not isinstance(data, dict | None):
        file.refuse(("channels",), "channels: write each as `name: {url_env: VARIABLE}`")
        return {}
    return {name: _channel(file, name, entry) for name, entry in (data or {}).items()}


def _channel(file: YamlFile, name: str, entry: Any) -> Channel | None:
    place: Place = ("channels", name)
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", name):
        file.refuse(place, f"channel {name!r}: a name is up to 40 letters, digits, '_' and '-'")
        return None
    label = f"channel {name!r}"
    read = _read(file, place, label, ChannelEntry, entry)
    if read is None:
        return None
    address = _address(file, (*place, "url_env"), label, read.url_env)
    try:
        return Channel(name, address, read.url_env) if address else None
    except ValueError as error:
        file.refuse((*place, "url_env"), f"{label}: what {read.url_env} holds is {error}")
        return None


def _address(file: YamlFile, place: Place, label: str, variable: str) -> str | None:
    reader = settings_module.reader()
    address = reader.secret(variable)
    try:
        reader.finish()
    except SettingsError as error:
        file.refuse(place, f"{label}: {str(error).splitlines()[-1].strip()}")
        return None
    if address is None:
        file.refuse(place, f"{label}: neither {variable} nor {variable}_FILE is set")
    return address


def _rules(file: YamlFile, data: Any, channels: dict[str, Channel | None]) -> tuple[Rule, ...]:
    if not isinstance(data, list | None):
        file.refuse(("rules",), "rules: must be a list (`- events: [...]`)")
        return ()
    read = [_rule(file, index, entry, channels) for index, entry in enumerate(data or ())]
    return tuple(rule for rule in read if rule is not None)


def _rule(file: YamlFile, index: int, entry: Any, channels: dict[str, Channel | None]) -> Any:
    place: Place = ("rules", index)
    label = f"rule {index + 1}"
    rule = _read(file, place, label, Rule, entry)
    if rule is None:
        return None
    for key in ("events", "channels"):
        if not getattr(rule, key):
            file.refuse((*place, key), f"{label}: {key}: must name at least one")
    for position, name in enumerate(rule.channels):
        if name not in channels:
            known = _close(name, tuple(channels)) if channels else "there are no channels"
            file.refuse((*place, "channels", position), f"{label}: no channel {name!r}: {known}")
    for key in ("severity", "companies"):
        if getattr(rule, key) and "alert" not in rule.events:
            file.refuse((*place, key), f"{label}: {key}: only alerts have one; its events don't")
    return rule


def _read(file: YamlFile, place: Place, label: str, model: type[Model], entry: Any) -> Model | None:
    if not isinstance(entry, dict):
        file.refuse(place, f"{label}: must have {', '.join(model.model_fields)}")
        return None
    _refuse_unknown(file, place, entry, tuple(model.model_fields), f"{label}: ")
    try:
        return model.model_validate(entry)
    except ValidationError as error:
        for problem in problems(error):
            where = ".".join(str(step) for step in problem.place if isinstance(step, str))
            file.refuse((*place, *problem.place), f"{label}: {where}: {problem.text}")
        return None


def _refuse_unknown(
    file: YamlFile, place: Place, entry: dict[str, Any], known: tuple[str, ...], label: str = ""
) -> None:
    for key in entry.keys() - set(known):
        file.refuse((*place, key), f"{label}unknown key {key!r}: {_close(key, known)}")


def _close(word: str, known: tuple[str, ...]) -> str:
    close = get_close_matches(word, known, n=1)
    return f"is it {close[0]!r}?" if close else f"known are {', '.join(known)}"
