"""`dimse`: take studies from modalities and PACS by C-STORE, until told to stop."""

import gc
import logging
import shutil
import signal
import socket
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import structlog
from anyio.from_thread import BlockingPortal, start_blocking_portal
from anyio.lowlevel import checkpoint
from prometheus_client import REGISTRY
from pynetdicom import AE

from gateway.dimse.config import DimseSettings, read_aes
from gateway.dimse.contexts import supported
from gateway.dimse.scp import StorageSCP
from gateway.dimse.spool import use_spool_files
from gateway.hints import HintSender
from gateway.studies.filing import Filing
from gateway.studies.settling import Settling
from gateway.uploads.accept import Acceptance
from gateway.uploads.receive import Receiver
from thorax import database, metrics, telemetry
from thorax.certificates import Certificates, valid_until
from thorax.http.database import async_engine
from thorax.leaving import leave
from thorax.settings import load
from thorax.storage import BlobStore
from thorax.work.heartbeat import BEAT_S
from thorax.work.hints import Hints

_STOP = {signal.SIGTERM, signal.SIGINT}
_log = structlog.get_logger(__name__)


def main() -> None:
    """Serve until SIGTERM or SIGINT. Associations are aborted then; what was not answered is sent again."""
    settings = load(DimseSettings)
    telemetry.configure("dimse", level=settings.log_level, form=settings.log_format)
    metrics.serve(settings)
    url = settings.database_url.get_secret_value()
    database.require_usable(url, pooled=settings.database_pooled)
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)  # its messages may quote data sets
    aes = read_aes(settings.dicom_aes)
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)  # inherited by all threads
    with ExitStack() as stack:
        use_spool_files(_spool(settings.dicom_spool, stack), settings.max_body_bytes)
        portal = stack.enter_context(start_blocking_portal())
        engine = async_engine(url, pooled=settings.database_pooled)
        blobs = BlobStore(settings.blobs)
        hints = HintSender(Hints(settings.redis_url.get_secret_value()))
        settling = Settling(engine, hints)
        stack.callback(portal.start_task_soon(settling.run).cancel)
        scp = StorageSCP(
            aes,
            Filing(settings, engine, blobs, Receiver(settings, blobs), hints, settling),
            Acceptance(settings, engine, blobs, hints),
            portal,
            idle_s=settings.dicom_idle_s,
        )
        ae = _application_entity(settings)
        place = (settings.dicom_host, settings.dicom_port)
        try:
            ae.start_server(place, block=False, ssl_context=settings.tls(), evt_handlers=scp.handlers())
        except OSError as error:
            sys.exit(f"THORAX_DICOM_PORT: can't listen at {place[0]}:{place[1]}: {error.strerror or error}.")
        if own := settings.dicom_tls_certificate:
            until = {own.name: valid_until(own)}  # of what was loaded, whatever the file becomes
            REGISTRY.register(Certificates(lambda: until))
        gc.freeze()  # pynetdicom collects all garbage twice a minute, of which what was imported would be most
        _log.info("listening", host=place[0], port=place[1], titles=sorted(aes))
        beat(settings, portal)
        while signal.sigtimedwait(_STOP, BEAT_S) is None:
            beat(settings, portal)
        _log.info("stopping")
        ae.shutdown()
    leave()


def beat(settings: DimseSettings, portal: BlockingPortal) -> None:
    """Touch the heartbeat file if connections are accepted and the loop that files images runs."""
    if settings.heartbeat_file is None:
        return
    try:
        socket.create_connection((settings.dicom_host, settings.dicom_port), timeout=BEAT_S).close()
        portal.start_task_soon(checkpoint).result(BEAT_S)
        settings.heartbeat_file.touch()
    except OSError as error:  # TimeoutError is one
        _log.warning("heartbeat_lost", error=type(error).__name__)


def _application_entity(settings: DimseSettings) -> AE:
    ae = AE()
    ae.supported_contexts = supported()
    ae.maximum_associations = settings.dicom_associations
    ae.maximum_pdu_size = settings.dicom_pdu_bytes
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = settings.dicom_idle_s
    return ae


def _spool(folder: Path | None, stack: ExitStack) -> Path:
    if folder is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="thorax-dicom-")))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    return folder


if __name__ == "__main__":
    main()
