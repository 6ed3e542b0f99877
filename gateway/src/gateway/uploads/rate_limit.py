"""How often an address may upload without an account."""

import time

import structlog
from limits import RateLimitItemPerHour
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError

from gateway.config import GatewaySettings
from thorax.errors import Code, CodedError
from thorax.http.address import rate_limit_key

_log = structlog.get_logger(__name__)


class UploadRateLimit:
    """Counts the open API's uploads per address, in Redis; per process while Redis is away."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self._item = RateLimitItemPerHour(settings.anonymous_jobs_per_hour)
        storage = RedisStorage(f"async+{settings.redis_url.get_secret_value()}", implementation="redispy")
        self._limiter = MovingWindowRateLimiter(storage)
        self._fallback = MovingWindowRateLimiter(MemoryStorage())

    async def count(self, address: str) -> dict[str, str]:
        """Count one upload; the RateLimit headers, or CodedError(RATE_LIMITED)."""
        caller = rate_limit_key(address)
        try:
            return await self._hit(self._limiter, caller)
        except (RedisError, OSError) as error:
            _log.warning("rate_limit_per_process", error=type(error).__name__)
            return await self._hit(self._fallback, caller)

    async def _hit(self, limiter: MovingWindowRateLimiter, address: str) -> dict[str, str]:
        allowed = await limiter.hit(self._item, "anonymous", address)
        stats = await limiter.get_window_stats(self._item, "anonymous", address)
        reset = max(1, int(stats.reset_time - time.time()) + 1)
        if not allowed:
            raise CodedError(
                Code.RATE_LIMITED,
                "This address has used up its uploads without an account for now.",
                retry_after=reset,
            )
        quota = self.settings.anonymous_jobs_per_hour
        return {
            "RateLimit-Policy": f'"anonymous";q={quota};w=3600',
            "RateLimit": f'"anonymous";r={stats.remaining};t={reset}',
            "RateLimit-Limit": str(quota),
            "RateLimit-Remaining": str(stats.remaining),
            "RateLimit-Reset": str(reset),
        }
