"""docker-compose.yml and deploy/Dockerfile: the promises that can rot."""

import re
import shlex
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml
from celery.bin.celery import celery as celery_cli

import bionewsbot.celeryconfig
import bionewsbot.settings
from bionewsbot.backend.__main__ import GRACE
from bionewsbot.names import (
    ARCHIVE_COLLECTION,
    QUEUE_DEAD_LETTER,
    QUEUE_HIGH,
    WEEKLY_COMPREHENSIVE_REPORT,
    WORKER_QUEUES,
)
from deploy.local import stack

ROOT = Path(__file__).parents[3]
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
SECRET = re.compile(r"PASSWORD|KEY|AUTH|SECRET|TOKEN")

OBJECT_STORE = {
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"),
}
"""What an archive in an object store needs, as the store's own programs call it."""

NOT_PASSED = {
    # The compose file's own Redis and its databases; what another Redis needs, an override sets.
    *("EMBEDDED_REDIS", "REDIS_PORT", "REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_PASSWORD_FILE"),
    *("REDIS_TLS", "REDIS_SCHEDULER_DB", "REDIS_CELERY_DB"),
    *("CELERY_BROKER_URL", "CELERY_BROKER_URL_FILE"),
    *("CELERY_RESULT_BACKEND", "CELERY_RESULT_BACKEND_FILE"),
    *("EMBEDDED_BACKEND", "API_KEY_FILE"),
    # Ports are mapped on the host; inside they stay as they are.
    *("PROMETHEUS_PORT", "FLOWER_PORT", "HEALTH_CHECK_PORT"),
    # Set by the image, or used by the local processes alone.
    *("BIONEWSBOT_CONFIG_DIR", "LOG_DIR"),
    *("BACKEND_DATABASE_URL_FILE", "BACKEND_API_KEY_FILE"),
}
"""Variables of config/.env.example that no container gets. Whoever adds a variable either passes
it on in docker-compose.yml or names it here."""


@pytest.fixture
def services() -> dict[str, dict[str, Any]]:
    """The services by name, anchors and merges resolved."""
    loaded: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE_TEXT)["services"]
    return loaded


def words(service: dict[str, Any]) -> list[str]:
    """Return a service's command as a list."""
    command = service.get("command", [])
    assert isinstance(command, list), "a shell between Docker and the program swallows signals"
    return command


def queues(service: dict[str, Any]) -> list[str]:
    """Return the queues that a service consumes."""
    command = words(service)
    return command[command.index("-Q") + 1].split(",") if "worker" in command else []


def check(service: dict[str, Any]) -> list[str]:
    """Return a health check's words."""
    test: list[str] = service["healthcheck"]["test"]
    return test[1:] if test[0] == "CMD" else shlex.split(test[1])


def seconds(duration: str) -> int:
    """Return a duration such as 45s in seconds."""
    assert duration.endswith("s")
    return int(duration.removesuffix("s"))


def test_every_queue_has_a_worker(services: dict[str, dict[str, Any]]) -> None:
    """`high` has a worker of its own, one serves all in order, none sees the dead letters."""
    assert queues(services["worker-high"]) == [QUEUE_HIGH]
    assert queues(services["worker-all"]) == list(WORKER_QUEUES)
    consumed = {queue for service in services.values() for queue in queues(service)}
    assert QUEUE_DEAD_LETTER not in consumed


def test_there_is_one_beat(services: dict[str, dict[str, Any]]) -> None:
    """One service is beat, in one container, and no worker carries a beat of its own."""
    assert [name for name, service in services.items() if "beat" in words(service)] == ["beat"]
    assert not {"deploy", "scale"} & set(services["beat"])
    assert not {"-B", "--beat"} & {word for service in services.values() for word in words(service)}


def test_ports_are_bound_to_this_machine(services: dict[str, dict[str, Any]]) -> None:
    """Only what has a password or shows figures is published, and only on 127.0.0.1."""
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert set(published) == {"backend", "flower", "exporter"}
    for ports in published.values():
        for port in ports:
            assert str(port).startswith("127.0.0.1:"), port
    assert not any("network_mode" in service for service in services.values())


def test_valkey_keeps_what_it_accepted(services: dict[str, dict[str, Any]]) -> None:
    """Messages and runs are on disk, in a volume, and never evicted."""
    command = words(services["valkey"])
    options = {word: command[at + 1] for at, word in enumerate(command) if word.startswith("--")}
    assert options["--appendonly"] == "yes"
    assert options["--appendfsync"] == "everysec"
    assert options["--maxmemory-policy"] == "noeviction"
    assert services["valkey"]["volumes"] == ["valkey-data:/data"]
    assert services["postgres"]["volumes"] == ["postgres-data:/var/lib/postgresql/data"]


def test_the_archive_outlives_its_containers(services: dict[str, dict[str, Any]]) -> None:
    """Each worker has the default folder of the archive in one volume, which its user may write."""
    default = bionewsbot.settings.load(Path("no.env")).archive_location
    for name in ("worker-high", "worker-all"):
        assert services[name]["volumes"] == [f"archive-data:{default}"]
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    assert f"install -d -o bionewsbot -g bionewsbot {default}\n" in dockerfile


def test_the_image_can_reach_an_object_store() -> None:
    """The packages for s3:// are among those of the lock file."""
    lock = (ROOT / "deploy" / "requirements.lock").read_text(encoding="utf-8")
    assert re.search(r"^s3fs==", lock, re.M)


def test_no_secret_has_a_default(services: dict[str, dict[str, Any]]) -> None:
    """A secret comes from outside, and its absence is told with the mend where it is needed."""
    for name, service in services.items():
        for variable, value in (service.get("environment") or {}).items():
            if variable in OBJECT_STORE:
                assert value is None, f"{name}: {variable}"
            elif SECRET.search(variable):
                wanted = r"(bionewsbot:)?\$\{[A-Z_]+:\?[^}]*deploy/compose/secrets[^}]*\}"
                assert re.fullmatch(wanted, str(value)), f"{name}: {variable}"
    for name, rest in re.findall(r"\$\{(\w+)([^}]*)\}", COMPOSE_TEXT):
        assert rest.startswith(":?") == bool(SECRET.search(name)), name


def test_grace_periods_outlast_the_programs(services: dict[str, dict[str, Any]]) -> None:
    """Docker kills nothing that is still stopping gracefully, as it would after its own 10 s."""
    grace = bionewsbot.settings.load(Path("no.env")).worker_grace_seconds
    for name, service in services.items():
        if "worker" in words(service):
            said = f"${{WORKER_GRACE_SECONDS:-{grace}}}s"
            assert service["stop_grace_period"] == said, name
    assert seconds(services["backend"]["stop_grace_period"]) > GRACE
    lasting = {name for name, service in services.items() if service["restart"] != "no"}
    assert {name for name in lasting if "stop_grace_period" not in services[name]} == set()


def test_options_of_commands_exist(services: dict[str, dict[str, Any]]) -> None:
    """Each option in a celery command or health check is one that the program knows."""
    commands = [words(service) for service in services.values()]
    commands += [check(service) for service in services.values() if "healthcheck" in service]
    seen = set()
    for command in commands:
        if command[:1] == ["celery"]:
            seen.add(check_options(command[1:]))
    assert seen == {"worker", "beat", "flower", "companies sync", "inspect"}


def check_options(arguments: list[str]) -> str:
    """Assert that a celery command line's options exist; return the name of the command."""
    command: Any = celery_cli
    path: list[str] = []
    plugins = {plugin.name: plugin for plugin in entry_points(group="celery.commands")}
    known: dict[str, bool] = {}
    rest = iter(arguments)
    for word in rest:
        if word.startswith("-"):
            known = {
                name: bool(getattr(option, "is_flag", False))
                for option in command.params
                for name in (*option.opts, *option.secondary_opts)
            }
            if path == ["flower"]:
                known |= dict.fromkeys(flower_options(), False)
            name, _, value = word.partition("=")
            assert name in known, f"{' '.join(path)}: {word}"
            if not known[name] and not value:
                next(rest)
        elif path == ["inspect"]:
            assert word in {"ping"}
        else:
            inside = getattr(command, "commands", {})
            assert word in inside or (not path and word in plugins), word
            command = inside[word] if word in inside else plugins[word].load()
            path.append(word)
    return " ".join(path)


def flower_options() -> set[str]:
    """Return the options that Flower itself reads from the command line."""
    from flower.options import options

    return {f"--{name.replace('_', '-')}" for name in options.as_dict()}


def test_worker_is_asked_under_its_own_name(services: dict[str, dict[str, Any]]) -> None:
    """A worker's health check pings the node that its command starts."""
    for name in ("worker-high", "worker-all"):
        command = words(services[name])
        node = command[command.index("-n") + 1]
        assert node.endswith("@%h")
        assert f"-d {node.replace('%h', '$$HOSTNAME')}" in " ".join(check(services[name]))


@pytest.mark.parametrize("held", [True, False])
def test_beat_is_healthy_while_the_lock_is_held(
    services: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    """Beat's health check runs, and asks for the lock that RedBeat takes."""

    class Redis:
        def exists(self, key: str) -> int:
            assert key == "redbeat::lock"
            return int(held)

    monkeypatch.setattr(bionewsbot.celeryconfig, "connect_redis", lambda _: Redis())
    with pytest.raises(SystemExit) as ended:
        exec(check(services["beat"])[-1], {})
    assert bool(ended.value.code) is not held


def test_dependencies_can_be_waited_for(services: dict[str, dict[str, Any]]) -> None:
    """What is waited for has a health check, or ends by itself."""
    for service in services.values():
        for name, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert "healthcheck" in services[name]
            else:
                assert wanted["condition"] == "service_completed_successfully"
                assert services[name]["restart"] == "no"


def test_settings_reach_the_containers(services: dict[str, dict[str, Any]]) -> None:
    """Every documented variable is passed on or left out on purpose, and no other name is."""
    example = (ROOT / "config" / ".env.example").read_text(encoding="utf-8")
    documented = set(re.findall(r"^#?([A-Z][A-Z0-9_]*)=", example, re.M))
    passed = {
        name for service in ("worker-all", "backend") for name in services[service]["environment"]
    } - {"PGPASSWORD"}
    assert passed == (documented - NOT_PASSED) | OBJECT_STORE
    assert NOT_PASSED <= documented
    all_of_it = services["worker-all"]["environment"]
    same = {name: value for name, value in all_of_it.items() if name not in OBJECT_STORE}
    for name in ("worker-high", "beat", "companies-sync"):
        assert services[name]["environment"] == same


def test_only_who_moves_records_has_the_keys_of_the_archive(
    services: dict[str, dict[str, Any]],
) -> None:
    """The keys of an object store are given to the one worker whose queues have such tasks."""
    given = {
        name
        for name, service in services.items()
        if OBJECT_STORE & set(service.get("environment") or {})
    }
    routes = bionewsbot.celeryconfig.celery_config(bionewsbot.settings.load(Path("no.env")))
    moving = (ARCHIVE_COLLECTION, WEEKLY_COMPREHENSIVE_REPORT)
    wanted = {routes["task_routes"][task]["queue"] for task in moving}
    assert given == {name for name, service in services.items() if wanted & set(queues(service))}
    assert given == {"worker-all"}


def test_exporter_is_set_as_without_docker(services: dict[str, dict[str, Any]]) -> None:
    """The exporter gets the CE_ names that the local processes give it."""
    given = stack.environment(stack.plan(bionewsbot.settings.load(Path("no.env"))), {"A": "b"})
    names = {name for name in given if name.startswith("CE_")}
    assert set(services["exporter"]["environment"]) == names


def test_image_gets_what_it_copies_and_no_more() -> None:
    """What the Dockerfile copies exists, and is all that .dockerignore lets through."""
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    sources = set()
    for line in re.findall(r"^COPY (.*)$", dockerfile, re.M):
        if "--from" not in line:
            sources |= {word for word in line.split()[:-1] if not word.startswith("--")}
    for source in sources:
        assert list(ROOT.glob(source)), source
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[1] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == sources
