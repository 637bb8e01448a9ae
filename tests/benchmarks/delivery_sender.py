"""Sends the messages of the delivery benchmark: `delivery_sender.py MODULE QUEUE LABEL N SECONDS`.

With a sixth argument it sends one about every so many seconds, at random moments, else all at once.
"""

import random
import sys
import time
from importlib import import_module


def main(module: str, queue: str, label: str, count: int, seconds: float, every: float) -> None:
    """Send `count` messages whose tasks take `seconds`."""
    peer = import_module(module)
    labels = [f"{label}-{number}" for number in range(count)]
    if not every and hasattr(peer, "send_all"):
        peer.send_all(queue, labels, seconds, time.time())
        return
    if hasattr(peer, "prepare"):
        peer.prepare(queue, labels, seconds)
    moments = random.Random(1)
    for one in labels:
        time.sleep(moments.uniform(0.5, 1.5) * every)
        peer.send(queue, one, seconds, time.time())


if __name__ == "__main__":
    _, name, to, first, many, long, *rest = sys.argv
    main(name, to, first, int(many), float(long), float(rest[0]) if rest else 0.0)
