"""`model-worker`: one process, one unit of capacity. Scale by starting more of them."""

from model_worker import decode
from model_worker.config import WorkerSettings
from model_worker.craft import ModelCraft
from model_worker.shelf import Shelf
from thorax import database, ledger, telemetry
from thorax.hints import Hints, celery_app
from thorax.states import StepKind
from thorax.storage import BlobStore
from thorax.workforce import Heartbeat, Workforce, run_celery


def main() -> None:
    """Load the default bundle, then serve hints until told to stop."""
    settings = WorkerSettings()
    telemetry.configure("model-worker", level=settings.log_level, form=settings.log_format)
    engine = database.engine(settings.database_url.get_secret_value(), autocommit=True)
    app = celery_app(settings.redis_url.get_secret_value(), "model-worker")
    shelf = Shelf(
        settings.models,
        settings.backbones,
        cpu_fallback=settings.cpu_fallback,
        at_most=settings.loaded_bundles,
    )
    craft = ModelCraft(settings, engine, BlobStore(settings.blobs), shelf, Hints(app))
    workforce = Workforce(engine, craft, service="model-worker", lease_s=settings.lease_s)
    heartbeat = Heartbeat(
        engine,
        name=workforce.name,
        service="model-worker",
        appetite=craft.survey,
        busy_since=lambda: workforce.busy_since,
        file=settings.heartbeat_file,
    )
    # The last one is for backbones that came after this process had started; see the sweeper.
    queues = [*(ledger.queue_of(StepKind.INFER, name) for name in shelf.backbones), str(StepKind.INFER)]
    if settings.prepares:
        queues.append(StepKind.PREPARE)
        decode.start()
    craft.open()
    try:
        run_celery(app, workforce, queues, prepare=heartbeat.start)
    finally:
        heartbeat.stop()


if __name__ == "__main__":
    main()
