"""Tasks' options and signatures: what Celery would let pass in silence raises here."""

import inspect
from collections.abc import Iterator

import pytest
from celery import Celery, Task
from celery.app.task import Context

from bionewsbot.errors import BackendUnavailable, NotARun
from bionewsbot.tasks.base import CheckedTask, FanOut, RunTask


@pytest.fixture
def bare() -> Iterator[Celery]:
    """An app with our task class and no broker."""
    app = Celery("tests", set_as_current=False, task_cls=CheckedTask, broker="memory://")
    yield app
    app.close()


@pytest.mark.parametrize("base", [CheckedTask, RunTask])
@pytest.mark.parametrize("option", ["ignore_results", "max_retry", "rate_limits", "time_limits"])
def test_a_misspelt_task_option_raises(bare: Celery, base: type[Task], option: str) -> None:
    """The error names the task and the option."""
    with pytest.raises(TypeError, match=f"task work: unknown option {option}"):

        @bare.task(base=base, shared=False, **{option: True})
        def work() -> None: ...

        _ = work.name  # Celery makes the task when it is first looked at


@pytest.mark.parametrize(
    "options",
    [
        {"ignore_result": False, "acks_late": False, "time_limit": 5, "queue": None},
        {"autoretry_for": (BackendUnavailable,), "retry_backoff": 2, "retry_jitter": False},
        {"retry_kwargs": {"max_retries": 2}, "retry_backoff_max": 60, "max_retries": 2},
        {"dont_autoretry_for": (ValueError,), "default_retry_delay": 5, "rate_limit": "5/s"},
    ],
)
@pytest.mark.parametrize("base", [CheckedTask, RunTask])
def test_celerys_options_are_taken(
    bare: Celery, base: type[Task], options: dict[str, object]
) -> None:
    """Those of its documentation, also those for retries that Task itself lacks as attributes."""

    @bare.task(base=base, name="tests.work", shared=False, **options)
    def work() -> None: ...

    for name, value in options.items():
        assert getattr(work, name) == value


def test_a_misspelt_part_of_a_retry_policy_raises(bare: Celery) -> None:
    """The error names the task and the part."""
    with pytest.raises(TypeError, match="task work: retry_policy has no attempt, budgets"):

        @bare.task(base=RunTask, shared=False, retry_policy={"attempt": 1, "budgets": 2})
        def work() -> None: ...

        _ = work.name  # Celery makes the task when it is first looked at


def test_a_misspelt_send_option_raises(bare: Celery) -> None:
    """Before anything is sent; the error names the task and the option."""

    @bare.task(name="tests.work", shared=False)
    def work() -> None: ...

    for send in (work.apply_async, work.s().apply_async):
        with pytest.raises(TypeError, match="task tests.work: unknown send option expire, quue"):
            send(expire=5, quue="high")


@pytest.mark.parametrize("exchange", ["", "bionewsbot"])
def test_what_celery_sends_in_a_retry_is_taken(bare: Celery, exchange: str) -> None:
    """Celery copies a retry's options from the message, `redelivered` among them."""

    @bare.task(name="tests.work", shared=False)
    def work() -> None: ...

    request = Context(
        id="t",
        delivery_info={
            "exchange": exchange,
            "routing_key": "celery",
            "priority": 0,
            "redelivered": None,
        },
    )
    work.signature_from_request(request, countdown=1, retries=1).apply_async()


@pytest.mark.parametrize("cls", [CheckedTask, RunTask])
def test_overridden_methods_keep_celerys_signatures(cls: type[Task]) -> None:
    """Celery can call ours as it calls its own: by position, by name, with what it has to give."""
    for name, ours in vars(cls).items():
        original = getattr(Task, name, None)
        if not inspect.isfunction(ours) or not inspect.isfunction(original):
            continue
        if name == "__init_subclass__":
            continue
        mine = inspect.signature(ours).parameters
        takes_more = any(each.kind is each.VAR_KEYWORD for each in mine.values())
        for parameter in inspect.signature(original).parameters.values():
            if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                assert any(each.kind is parameter.kind for each in mine.values()), name
            else:
                assert parameter.name in mine or takes_more, f"{name}({parameter.name})"
    assert list(inspect.signature(CheckedTask.apply_async).parameters)[:3] == (
        list(inspect.signature(Task.apply_async).parameters)[:3]
    )


def test_a_run_task_without_headers_does_nothing(bare: Celery) -> None:
    """The error says how to start a run; the function isn't called."""
    called = []

    @bare.task(base=RunTask, bind=True, name="tests.job", shared=False)
    def job(self: RunTask) -> FanOut:
        called.append(1)
        return FanOut(())

    with pytest.raises(NotARun, match="celery -A bionewsbot runs start ENTRY"):
        job.apply(throw=True)
    assert not called
