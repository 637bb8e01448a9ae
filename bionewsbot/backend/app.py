"""The application: composition, nothing else."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool

from bionewsbot.backend import problems
from bionewsbot.backend.clock import Clock, utc_now
from bionewsbot.backend.maintenance import MaintenanceRunner
from bionewsbot.backend.middleware import ApiKey, RequestContext
from bionewsbot.backend.routes import (
    alerts,
    analyses,
    companies,
    exchange,
    health,
    insights,
    maintenance,
    reports,
)
from bionewsbot.backend.runner import AnalysisRunner
from bionewsbot.backend.services import Services
from bionewsbot.backend.sources.base import Source
from bionewsbot.backend.storage.database import Database
from bionewsbot.backend.waiting import Waiters

logger = logging.getLogger(__name__)

PREFIX = "/api/v1"


def create_app(
    database: Database,
    sources: Sequence[Source],
    *,
    api_key: str | None = None,
    analysis_concurrency: int = 8,
    clock: Clock = utc_now,
) -> FastAPI:
    """Return the API on a migrated database. Its life cycle resumes and ends the runners."""
    waiters = Waiters()
    services = Services(
        database=database,
        analyses=AnalysisRunner(
            database,
            sources,
            concurrency=analysis_concurrency,
            clock=clock,
            on_end=waiters.notify,
        ),
        maintenance=MaintenanceRunner(database, clock=clock, on_end=waiters.notify),
        waiters=waiters,
        clock=clock,
    )
    app = FastAPI(
        title="BioNewsBot Backend API",
        version=version("bionewsbot"),
        description="The reference backend of BioNewsBot's scheduler.",
        lifespan=_lifespan,
    )
    app.state.services = services
    problems.install(app)
    app.include_router(health.router)
    # The key itself is checked before anything else, in the middleware; this publishes it.
    security = [Depends(HTTPBearer(auto_error=False))] if api_key is not None else []
    for module in (companies, analyses, insights, alerts, reports, exchange, maintenance):
        app.include_router(module.router, prefix=PREFIX, dependencies=security)
    if api_key is not None:
        app.add_middleware(ApiKey, key=api_key)
    app.add_middleware(RequestContext)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    services.waiters.attach(asyncio.get_running_loop())
    await run_in_threadpool(services.maintenance.recover)
    resumed = await run_in_threadpool(services.analyses.resume)
    logger.info("backend_started", extra={"resumed_analyses": resumed})
    yield
    services.waiters.close()
    await run_in_threadpool(services.analyses.close)
    await run_in_threadpool(services.maintenance.close)
    await run_in_threadpool(services.database.close)
    logger.info("backend_stopped")
