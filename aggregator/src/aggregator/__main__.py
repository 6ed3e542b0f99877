"""`aggregator`: serve `aggregate` hints."""

from aggregator.config import AggregatorSettings
from aggregator.tasks import AggregateHandler
from thorax import database, telemetry
from thorax.states import StepKind
from thorax.work.hints import celery_app
from thorax.work.worker import Heartbeat, Worker, run_celery


def main() -> None:
    """Serve until told to stop."""
    settings = AggregatorSettings()
    telemetry.configure("aggregator", level=settings.log_level, form=settings.log_format)
    engine = database.engine(settings.database_url.get_secret_value(), autocommit=True)
    app = celery_app(settings.redis_url.get_secret_value(), "aggregator")
    handler = AggregateHandler(engine, quorum=settings.quorum)
    worker = Worker(engine, handler, service="aggregator", lease_s=settings.lease_s)
    heartbeat = Heartbeat(
        engine,
        name=worker.name,
        service="aggregator",
        capabilities=handler.capabilities,
        busy_since=lambda: worker.busy_since,
        file=settings.heartbeat_file,
    )
    try:
        run_celery(app, worker, [StepKind.AGGREGATE], prepare=heartbeat.start)
    finally:
        heartbeat.stop()


if __name__ == "__main__":
    main()
