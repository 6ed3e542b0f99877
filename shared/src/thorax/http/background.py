"""Loops that run beside the requests of a service."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager


@asynccontextmanager
async def background(*loops: Coroutine[object, object, None]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Run endless coroutines while the block runs; their tasks."""
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
