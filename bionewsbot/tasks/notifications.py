"""Sending notices: a run for each batch, with one target for each notice and channel."""

from typing import Any

from bionewsbot import names
from bionewsbot.notifications.config import notifications
from bionewsbot.notifications.notices import Notice
from bionewsbot.runs.model import Message
from bionewsbot.tasks.base import FanOut, RunTask, run_task


@run_task(names.NOTIFY)
def notify(self: RunTask, notices: list[dict[str, Any]]) -> FanOut:
    """Have each notice sent by each channel that a rule names; none waits for another one."""
    return FanOut(
        tuple(
            Message(
                target=f"{channel}/{notice['id']}",
                task=names.SEND_NOTICE,
                queue=names.QUEUE_LOW,
                kwargs={"channel": channel, "notice": notice},
            )
            for notice in notices
            for channel in notifications().ways(Notice.from_dict(notice))
        )
    )


@run_task(names.SEND_NOTICE)
def send_notice(self: RunTask, channel: str, notice: dict[str, Any]) -> dict[str, int]:
    """Send one notice by one channel; a channel that fails is tried again as RETRY_* say."""
    notifications().channel(channel).send(Notice.from_dict(notice))
    return {"notices": 1}
