"""A stand-in for the Backend API whose analyses take a set time and cost almost nothing.

`python slow_backend.py PORT SECONDS COMPANIES`: one finding an analysis; state is kept in memory.
A POST takes effect once for each idempotency key, as the API wants it, and by nothing else:
where two keys did the same, `GET /effects` shows it.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any
from urllib.parse import parse_qs

import uvicorn

FINDING = {
    "story_id": "story",
    "type": "filing",
    "polarity": "neutral",
    "title": "A filing",
    "description": "",
    "confidence": 1.0,
    "severity": "low",
    "occurred_at": "2026-01-15T00:00:00Z",
    "url": None,
    "source": "stub",
    "evidence": {},
}


class SlowBackend:
    """The ASGI application."""

    def __init__(self, seconds: float, companies: int) -> None:
        self.seconds = seconds
        self.companies = companies
        self.ends: dict[str, float] = {}
        self.effects: dict[str, str] = {}
        self.again = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        body = b""
        while True:
            part = await receive()
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        if scope["path"] == "/effects":
            status, answer = 200, self._counts()
        elif scope["method"] == "POST" and not self._takes_effect(scope, body):
            status, answer = 422, {"title": "The same key, another body"}
        else:
            status, answer = await self._answer(scope, json.loads(body) if body else {})
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-type", b"application/json")],
            }
        )
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    async def _answer(self, scope: Any, body: Any) -> tuple[int, Any]:
        path = scope["path"].removeprefix("/api/v1/")
        if path == "companies":
            return 200, {"items": self._companies(scope), "next_cursor": self._next(scope)}
        if path == "analyses":
            company = body["company_id"]
            self.ends.setdefault(company, time.monotonic() + self.seconds)
            return 202, {"id": company, "status": "running", "attempt": 1}
        if path.startswith("analyses/"):
            company = path.removeprefix("analyses/")
            await asyncio.sleep(max(0.0, self.ends[company] - time.monotonic()))
            return 200, self._analysis(company)
        return 201, {"id": "stored"}

    def _takes_effect(self, scope: Any, body: bytes) -> bool:
        key = dict(scope["headers"]).get(b"idempotency-key")
        if key is None:
            return True  # of plain Celery, which sends none
        name, effect = key.decode(), f"{scope['path']} {body.decode()}"
        self.again += name in self.effects
        return self.effects.setdefault(name, effect) == effect

    def _counts(self) -> dict[str, int]:
        times = Counter(self.effects.values())
        return {
            "effects": len(times),
            "twice": sum(count > 1 for count in times.values()),
            "again": self.again,
        }

    def _start(self, scope: Any) -> int:
        return int(parse_qs(scope["query_string"].decode()).get("cursor", ["0"])[0])

    def _next(self, scope: Any) -> str | None:
        following = self._start(scope) + 500
        return str(following) if following < self.companies else None

    def _companies(self, scope: Any) -> list[dict[str, Any]]:
        start = self._start(scope)
        return [
            {
                "id": f"C{number}",
                "name": f"Company {number}",
                "ticker": f"C{number}",
                "cik": None,
                "aliases": [],
                "priority": ("high", "medium", "low")[number % 3],
                "analysis_frequency": "daily",
                "status": "active",
            }
            for number in range(start, min(start + 500, self.companies))
        ]

    def _analysis(self, company: str) -> dict[str, Any]:
        return {
            "id": company,
            "company_id": company,
            "type": "daily",
            "attempt": 1,
            "status": "succeeded",
            "started_at": None,
            "finished_at": None,
            "sources": [],
            "findings": [FINDING],
            "significant": False,
            "risk": None,
            "error": None,
        }


if __name__ == "__main__":
    port, seconds, companies = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    uvicorn.run(SlowBackend(seconds, companies), host="127.0.0.1", port=port, log_level="critical")
