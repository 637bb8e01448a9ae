"""Remote control of workers: Celery's commands, less what would break a promise of ours."""

from typing import Any

from celery.worker import control

_celerys_add_consumer = control.add_consumer


@control.control_command(
    args=[("queue", str), ("exchange", str), ("exchange_type", str), ("routing_key", str)],
    signature="<queue>",
)
def add_consumer(state: Any, queue: str, *args: Any, **options: Any) -> dict[str, str]:
    """Tell workers to consume from one more of the declared queues.

    Celery's own command declares what it doesn't know, in spite of task_create_missing_queues,
    and so would let a worker eat up the dead letters.
    """
    declared = [known.name for known in state.app.conf.task_queues]
    if queue not in declared:
        return {"error": f"queue {queue!r} is not one of {', '.join(declared)}"}
    answer: dict[str, str] = _celerys_add_consumer(state, queue, *args, **options)
    return answer
