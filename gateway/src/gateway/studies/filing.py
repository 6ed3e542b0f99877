"""Filing: one image that a DICOM peer sent becomes durable, and is recorded under its study once and only once."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.config import GatewaySettings
from gateway.hints import HintSender
from gateway.studies import queries
from gateway.studies.header import HEAD_BYTES, Identifiers, identify
from gateway.studies.settling import Settling
from gateway.uploads.receive import Digests, Receiver, StoredImage, discard, read_head
from thorax.errors import Code, CodedError
from thorax.http.database import tenant_autocommit
from thorax.image_headers import DICOM
from thorax.metrics import REFUSALS
from thorax.states import Priority
from thorax.storage import BlobStore

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Route:
    """Whose study it becomes, from where it comes, and how it is analysed once it has been quiet for `quiet_s`."""

    tenant_id: UUID
    owner: str
    source: str
    priority: Priority = Priority.ROUTINE
    bundle: str | None = None
    quiet_s: float = 10
    latest_s: float = 120


class NotFiledError(CodedError):
    """An instance that was not filed, and what is known of it."""

    def __init__(
        self, code: Code, detail: str = "", *, found: Identifiers, retry_after: int | None = None
    ) -> None:
        super().__init__(code, detail, retry_after=retry_after)
        self.found = found


class Filing:
    """Files images. Both DICOM doors end here, and what is stored came through the same `Receiver` as an upload."""

    def __init__(
        self,
        settings: GatewaySettings,
        engine: AsyncEngine,
        blobs: BlobStore,
        receiver: Receiver,
        hints: HintSender,
        settling: Settling,
    ) -> None:
        self._settings, self._engine, self._blobs, self._receiver = settings, engine, blobs, receiver
        self._hints, self._settling = hints, settling

    async def file(
        self, route: Route, chunks: AsyncIterator[bytes], *, study: str | None = None
    ) -> Identifiers:
        """Store and record one DICOM file; both are durable on return, and `known` ones are not stored twice.

        What Thorax itself has made is dropped, which is not an error: a PACS may send whole studies, and a new analysis with
        each of our results would never end. `study` is its UID, if its sender named it apart from the file. Raises
        CodedError(UNREADABLE_IMAGE) for a header that can't be read, NotFiledError: VALIDATION for other UIDs than were
        named, QUOTA_EXCEEDED. Whatever is raised, nothing stays recorded.
        """
        head = await read_head(chunks, HEAD_BYTES)
        found = identify(head, study)
        keep = partial(self._receiver.keep, "", DICOM, head, chunks, found)
        return await self._file(route, found, keep, (study, found.study))

    async def adopt(
        self, route: Route, file: Path, found: Identifiers, digests: Digests, *, sop_class: str, sop: str
    ) -> Identifiers:
        """As `file`, for a file that was hashed while it was written, and is the store's now: by moving, on the same disk.

        `sop_class` and `sop` are UIDs that its sender named apart from it.
        """
        keep = partial(self._receiver.adopt, file, digests)
        return await self._file(route, found, keep, (sop_class, found.sop_class), (sop, found.sop_instance))

    async def _file(
        self,
        route: Route,
        found: Identifiers,
        keep: Callable[[], Awaitable[StoredImage]],
        *named: tuple[str | None, str],
    ) -> Identifiers:
        if any(told not in (None, own) for told, own in named):
            raise NotFiledError(
                Code.VALIDATION, "The data set has other UIDs than its sender named.", found=found
            )
        if found.own:
            _log.info("own_object_dropped", source=route.source, sop_class=found.sop_class)
            REFUSALS.labels(Code.NOT_A_CHEST).inc()
            return found
        image = await keep()
        async with tenant_autocommit(self._engine, route.tenant_id) as connection:
            verdict = await queries.file_instance(
                connection,
                route.tenant_id,
                study=found.study,
                sop=found.sop_instance,
                image=asdict(replace(image, dicom=None)) | found.columns(),
                route={
                    "owner": route.owner,
                    "source": route.source,
                    "priority": route.priority.rank,
                    "bundle": route.bundle,
                    "quiet_s": route.quiet_s,
                    "latest_s": route.latest_s,
                    "quota": self._settings.open_jobs_per_tenant,
                },
            )
        if verdict in ("known", "full"):
            await discard(self._blobs, [image])
        if verdict == "filed":
            self._settling.arrived()
        if verdict == "conflict":
            self._hints.prepare(1)  # a worker compares the pixels
        if verdict == "full":
            raise NotFiledError(Code.QUOTA_EXCEEDED, found=found, retry_after=10)
        return found
