"""The worker's consumer: serves the declared queues and no other."""

from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer


class Consumer(CeleryConsumer):
    """Refuses queues that aren't declared, which keeps `dead_letter` from being consumed."""

    def add_task_queue(self, queue: str, *args: Any, **options: Any) -> None:
        """Start to consume from a queue (`celery control add_consumer`).

        Raises ValueError for a queue that isn't in `task_queues`.
        """
        # Celery's own check creates what it doesn't know; task_create_missing_queues=False
        # doesn't reach this path.
        declared = self.app.conf.task_queues
        if queue not in {known.name for known in declared}:
            raise ValueError(f"queue {queue!r} is not declared, so no worker may consume it")
        super().add_task_queue(queue, *args, **options)
