"""`model-worker`: one process, one unit of capacity. Scale by starting more of them."""

from model_worker.bundle_cache import BundleCache
from model_worker.config import WorkerSettings
from model_worker.sandbox import client as sandbox
from model_worker.tasks import InferenceHandler
from thorax.leaving import leave
from thorax.settings import load
from thorax.states import StepKind
from thorax.storage import BlobStore
from thorax.work import ledger
from thorax.work.run import Process


def main() -> None:
    """Load the default bundle, then serve hints until told to stop."""
    settings = load(WorkerSettings)
    process = Process("model-worker", settings)
    bundle_cache = BundleCache(
        settings.models,
        settings.backbones,
        cpu_fallback=settings.cpu_fallback,
        at_most=settings.loaded_bundles,
        engine=settings.engine,
    )
    blobs = BlobStore(settings.blobs)
    handler = InferenceHandler(settings, process.engine, blobs, bundle_cache, process.hints)
    # The last queue is for backbones of bundles that were added later; see the sweeper.
    queues = [
        *(ledger.queue_of(StepKind.INFER, name) for name in bundle_cache.backbones),
        str(StepKind.INFER),
    ]
    if settings.prepares:
        queues.append(StepKind.PREPARE)
        sandbox.start()
    handler.open()
    process.serve(handler, queues, refresh=handler.refresh)
    leave()


if __name__ == "__main__":
    main()
