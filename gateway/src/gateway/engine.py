"""The database engine of the app that takes a request."""

from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncEngine


def engine_of(request: Request) -> AsyncEngine:
    """The pool of connections that all endpoints share."""
    engine: AsyncEngine = request.app.state.engine
    return engine
