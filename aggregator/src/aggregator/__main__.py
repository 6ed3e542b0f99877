"""`aggregator`: serve `aggregate` hints."""

from aggregator.config import AggregatorSettings
from aggregator.craft import AggregateCraft
from thorax import database, telemetry
from thorax.hints import celery_app
from thorax.states import StepKind
from thorax.workforce import Heartbeat, Workforce, run_celery


def main() -> None:
    """Serve until told to stop."""
    settings = AggregatorSettings()
    telemetry.configure("aggregator", level=settings.log_level, form=settings.log_format)
    engine = database.engine(settings.database_url.get_secret_value(), autocommit=True)
    app = celery_app(settings.redis_url.get_secret_value(), "aggregator")
    craft = AggregateCraft(engine, quorum=settings.quorum)
    workforce = Workforce(engine, craft, service="aggregator", lease_s=settings.lease_s)
    heartbeat = Heartbeat(
        engine,
        name=workforce.name,
        service="aggregator",
        appetite=craft.appetite,
        busy_since=lambda: workforce.busy_since,
        file=settings.heartbeat_file,
    )
    try:
        run_celery(app, workforce, [StepKind.AGGREGATE], prepare=heartbeat.start)
    finally:
        heartbeat.stop()


if __name__ == "__main__":
    main()
