"""`model-worker`: one process, one unit of capacity. Scale by starting more of them."""

from model_worker.bundle_cache import BundleCache
from model_worker.config import WorkerSettings
from model_worker.sandbox import client as sandbox
from model_worker.tasks import InferenceHandler
from thorax import database, telemetry
from thorax.states import StepKind
from thorax.storage import BlobStore
from thorax.work import ledger
from thorax.work.hints import Hints, celery_app
from thorax.work.worker import Heartbeat, Worker, run_celery


def main() -> None:
    """Load the default bundle, then serve hints until told to stop."""
    settings = WorkerSettings()
    telemetry.configure("model-worker", level=settings.log_level, form=settings.log_format)
    engine = database.engine(settings.database_url.get_secret_value(), autocommit=True)
    app = celery_app(settings.redis_url.get_secret_value(), "model-worker")
    bundle_cache = BundleCache(
        settings.models,
        settings.backbones,
        cpu_fallback=settings.cpu_fallback,
        at_most=settings.loaded_bundles,
    )
    handler = InferenceHandler(settings, engine, BlobStore(settings.blobs), bundle_cache, Hints(app))
    worker = Worker(engine, handler, service="model-worker", lease_s=settings.lease_s)
    heartbeat = Heartbeat(
        engine,
        name=worker.name,
        service="model-worker",
        capabilities=handler.refresh,
        busy_since=lambda: worker.busy_since,
        file=settings.heartbeat_file,
    )
    # The last queue is for backbones of bundles that were added later; see the sweeper.
    queues = [
        *(ledger.queue_of(StepKind.INFER, name) for name in bundle_cache.backbones),
        str(StepKind.INFER),
    ]
    if settings.prepares:
        queues.append(StepKind.PREPARE)
        sandbox.start()
    handler.open()
    try:
        run_celery(app, worker, queues, prepare=heartbeat.start)
    finally:
        heartbeat.stop()


if __name__ == "__main__":
    main()
