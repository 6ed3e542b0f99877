"""Who stands at the door: the client's address, and how often the open API lets it in."""

import time
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

import structlog
from fastapi import Request
from limits import RateLimitItemPerHour
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError

from gateway.config import GatewaySettings
from thorax.errors import Code, CodedError

_log = structlog.get_logger(__name__)


def client_address(request: Request, trusted: Sequence[IPv4Network | IPv6Network]) -> str:
    """The nearest address that is not a proxy we trust; X-Forwarded-For of anybody else counts for nothing."""
    hops = [hop.strip() for hop in request.headers.get("x-forwarded-for", "").split(",") if hop.strip()]
    address = request.client.host if request.client else "unknown"
    while hops and _is_trusted(address, trusted):
        address = hops.pop()
    return address if _is_address(address) else "unknown"


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_trusted(address: str, trusted: Sequence[IPv4Network | IPv6Network]) -> bool:
    return _is_address(address) and any(ip_address(address) in network for network in trusted)


class Door:
    """Counts the open API's uploads per address, in Redis; per process while Redis is away."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self._item = RateLimitItemPerHour(settings.anonymous_jobs_per_hour)
        storage = RedisStorage(f"async+{settings.redis_url.get_secret_value()}", implementation="redispy")
        self._limiter = MovingWindowRateLimiter(storage)
        self._fallback = MovingWindowRateLimiter(MemoryStorage())

    async def limit(self, address: str) -> dict[str, str]:
        """Count one upload; the RateLimit headers, or CodedError(RATE_LIMITED)."""
        try:
            return await self._count(self._limiter, address)
        except (RedisError, OSError) as error:
            _log.warning("rate_limit_per_process", error=type(error).__name__)
            return await self._count(self._fallback, address)

    async def _count(self, limiter: MovingWindowRateLimiter, address: str) -> dict[str, str]:
        admitted = await limiter.hit(self._item, "anonymous", address)
        stats = await limiter.get_window_stats(self._item, "anonymous", address)
        reset = max(1, int(stats.reset_time - time.time()) + 1)
        if not admitted:
            raise CodedError(
                Code.RATE_LIMITED, "The open API takes no more from here for now.", retry_after=reset
            )
        quota = self.settings.anonymous_jobs_per_hour
        return {
            "RateLimit-Policy": f'"anonymous";q={quota};w=3600',
            "RateLimit": f'"anonymous";r={stats.remaining};t={reset}',
            "RateLimit-Limit": str(quota),
            "RateLimit-Remaining": str(stats.remaining),
            "RateLimit-Reset": str(reset),
        }
