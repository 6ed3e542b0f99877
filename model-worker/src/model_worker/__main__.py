"""`model-worker`: one process, one unit of capacity. Scale by starting more of them."""

from sqlalchemy import Engine, text

from model_worker import decode
from model_worker.config import WorkerSettings
from model_worker.craft import ModelCraft
from model_worker.shelf import Shelf
from thorax import database, ledger, telemetry
from thorax.hints import Hints, celery_app
from thorax.models import StepKind
from thorax.storage import BlobStore
from thorax.workforce import Heartbeat, Workforce, run_celery


def main() -> None:
    """Load the active bundle, then serve hints until told to stop."""
    settings = WorkerSettings()
    telemetry.configure("model-worker", level=settings.log_level, form=settings.log_format)
    engine = database.engine(settings.database_url.get_secret_value())
    app = celery_app(settings.redis_url.get_secret_value(), "model-worker")
    shelf = Shelf(settings.models, settings.backbones, cpu_fallback=settings.cpu_fallback)
    craft = ModelCraft(settings, engine, BlobStore(settings.blobs), shelf, Hints(app))
    workforce = Workforce(engine, craft, service="model-worker", lease_s=settings.lease_s)
    queues = [ledger.queue_of(StepKind.INFER, name) for name in shelf.backbones]
    if settings.prepares:
        queues.append(StepKind.PREPARE)
        decode.start()
    _load_active(engine, shelf)
    heartbeat = Heartbeat(
        engine,
        name=workforce.name,
        service="model-worker",
        appetite=craft.survey,
        provider=shelf.provider,
        busy_since=lambda: workforce.busy_since,
        file=settings.heartbeat_file,
    )
    try:
        run_celery(app, workforce, queues, prepare=heartbeat.start)
    finally:
        heartbeat.stop()


def _load_active(engine: Engine, shelf: Shelf) -> None:
    """Load the active bundle before any hint is taken; without one the first job loads what it is pinned to."""
    with engine.connect() as connection:
        digest = connection.execute(text("select digest from bundles where active")).scalar()
    if digest in shelf.digests:
        shelf.sessions(digest)


if __name__ == "__main__":
    main()
