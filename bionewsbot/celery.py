"""The Celery app (`celery -A bionewsbot ...`): composition, nothing else."""

import logging
from pkgutil import iter_modules
from typing import Any

from celery import Celery
from celery.signals import celeryd_init, setup_logging

from bionewsbot import logs
from bionewsbot import settings as settings_module
from bionewsbot import tasks
from bionewsbot.celeryconfig import celery_config
from bionewsbot.dead_letters import queue as dead_letter_queue
from bionewsbot.delivery import transport
from bionewsbot.delivery.bounds import BoundsStep
from bionewsbot.delivery.events import EventStep
from bionewsbot.delivery.leases import KeepStep, LeaseStep
from bionewsbot.delivery.shutdown import ShutdownStep
from bionewsbot.errors import NotificationsFileError, SettingsError
from bionewsbot.notifications import posting, watch
from bionewsbot.notifications.config import notifications
from bionewsbot.runs import slots
from bionewsbot.runs.reconciler import ReconcilerStep
from bionewsbot.tasks.base import work_done


def create_app() -> Celery:
    """Compose the app. Raises SystemExit with the list of wrong settings, if there are any."""
    try:
        settings = settings_module.current()
    except SettingsError as error:
        # Celery's command line prints a traceback for any other exception.
        raise SystemExit(str(error)) from error
    transport.register()
    app = Celery("bionewsbot", task_cls="bionewsbot.tasks.base:CheckedTask")
    app.config_from_object(
        {
            **celery_config(settings),
            "include": ["bionewsbot.control", *_task_modules()],
            "beat_scheduler": "bionewsbot.scheduling.scheduler:Scheduler",
            "worker_consumer": "bionewsbot.dead_letters.consumer:Consumer",
        }
    )
    ReconcilerStep.chores = (slots.call_up, dead_letter_queue.sync, posting.post, watch.look)
    app.steps["worker"].update((ReconcilerStep, LeaseStep, ShutdownStep, BoundsStep))
    app.steps["consumer"].update((KeepStep, EventStep))
    work_done.connect(transport.take_next)
    return app


def _task_modules() -> list[str]:
    # Found, not listed: whoever adds a job writes its function and its timetable entry, no more.
    return [module.name for module in iter_modules(tasks.__path__, f"{tasks.__name__}.")]


# A command says in words what it did. Where no logs are configured, Python would print the bare
# names of events between them.
logging.getLogger("bionewsbot").addHandler(logging.NullHandler())


# celeryd_init comes first in a worker: before the warnings of its start.
@celeryd_init.connect
@setup_logging.connect
def _configure_logging(**_: Any) -> None:
    logs.configure(settings_module.current())


@celeryd_init.connect
def _check_notifications(**_: Any) -> None:
    try:
        notifications()
    except NotificationsFileError as error:
        raise SystemExit(f"the worker was not started:\n{error}") from error


app = create_app()
