"""A worker's events for Flower and the exporter, a few at a time instead of each with its task.

Celery buffers them and empties the buffer in the next round of the event loop: one publication for
each task, which costs a twentieth of a busy worker's time (docs/benchmarks.md).
"""

from typing import Any

from celery import bootsteps

EVENTS_SECONDS = 0.5
"""Longest wait of an event in the buffer, unless 24 are in it before."""


class EventStep(bootsteps.StartStopStep):
    """Sends what is in the buffer twice a second; part of the consumer, where it has a loop."""

    requires = ("celery.worker.consumer.events:Events",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._timer: Any = None

    def start(self, parent: Any) -> None:
        """Take over from the flush in each round; runs after each connect."""
        self.stop(parent)
        if parent.hub is None:
            return
        # A task ends in a thread: the round that this begins asks the broker for the next message.
        parent.event_dispatcher.on_send_buffered = lambda: parent.hub.call_soon(_wake)
        self._timer = parent.hub.call_repeatedly(EVENTS_SECONDS, parent._flush_events)

    def stop(self, parent: Any) -> None:
        """End the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def shutdown(self, parent: Any) -> None:
        """Send what is left."""
        self.stop(parent)
        parent._flush_events()


def _wake() -> None:
    """Do nothing: being called is enough."""
