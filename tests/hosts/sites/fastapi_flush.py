"""The course site on FastAPI, with a lifespan that sees to it that nothing is under way when its server ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_spans import app as shop
from opentelemetry import trace


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    yield
    await asyncio.to_thread(trace.get_tracer_provider().force_flush)


app = FastAPI(lifespan=lifespan)
app.include_router(shop.router)
