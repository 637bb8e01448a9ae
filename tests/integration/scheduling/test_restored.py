"""What happens after Redis was restored from a backup."""

import pytest
from support.apps import Broker
from support.redis_server import RedisServer
from support.scheduling import Schedule, put_due


class Backup:
    """What the scheduler's database held."""

    def __init__(self, server: RedisServer) -> None:
        self._redis = server.client(1, decode_responses=False)
        self._dump = {key: self._redis.dump(key) for key in self._redis.keys()}

    def restore(self) -> None:
        """Let the database be as it was."""
        self._redis.flushdb()
        for key, text in self._dump.items():
            self._redis.restore(key, 0, text)
        self._redis.close()


@pytest.mark.parametrize(
    ("deadline", "status"), [(3600.0, "running"), (300.0, "missed")], ids=["within", "past"]
)
def test_restored_from_a_backup_from_before_the_run(
    schedule: Schedule, broker: Broker, clean_redis: RedisServer, deadline: float, status: str
) -> None:
    """Within its deadline it is started again under the same name; past it, it is missed."""
    beat = schedule.leader()
    at = put_due(schedule, starting_deadline=deadline)
    backup = Backup(clean_redis)
    schedule.settle(beat)
    (first,) = schedule.runs("own")
    backup.restore()
    schedule.settle(beat)
    (again,) = schedule.runs("own")
    assert (again.run_id, again.scheduled_for, again.status) == (first.run_id, at, status)


def test_restored_from_a_backup_whose_ledger_knows(
    schedule: Schedule, broker: Broker, clean_redis: RedisServer
) -> None:
    """A backup from between the run and its entry's advance: nothing starts again."""
    beat = schedule.leader()
    put_due(schedule)
    before = str(schedule.redis.hget("redbeat:own", "meta"))
    schedule.settle(beat)
    schedule.redis.hset("redbeat:own", "meta", before)
    schedule.redis.zadd("redbeat::schedule", {"redbeat:own": 1})
    backup = Backup(clean_redis)
    backup.restore()
    schedule.settle(beat)
    assert len(schedule.runs("own")) == len(broker.messages("high")) == 1
