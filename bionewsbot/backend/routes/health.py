"""Whether the process is up, and whether it can work."""

from fastapi import APIRouter

from bionewsbot.backend.services import Given

router = APIRouter(tags=["health"])


@router.get("/livez")
async def livez() -> dict[str, str]:
    """Answer as long as the process does."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(services: Given) -> dict[str, str]:
    """Answer 200 while the database is usable, 503 while it isn't."""
    services.database.check()
    return {"status": "ok"}
