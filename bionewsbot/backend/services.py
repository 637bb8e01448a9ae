"""What the routes work with: one of each per process."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from bionewsbot.backend.clock import Clock
from bionewsbot.backend.maintenance import MaintenanceRunner
from bionewsbot.backend.runner import AnalysisRunner
from bionewsbot.backend.storage.database import Database
from bionewsbot.backend.waiting import Waiters


@dataclass(frozen=True)
class Services:
    """The process' database, runners, waiting callers and clock."""

    database: Database
    analyses: AnalysisRunner
    maintenance: MaintenanceRunner
    waiters: Waiters
    clock: Clock


async def _of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


Given = Annotated[Services, Depends(_of)]
"""A route's parameter of this type is the process' Services."""
