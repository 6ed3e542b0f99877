"""Accepting an upload: from bytes that are durable to a receipt, once and only once."""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from dataclasses import asdict, dataclass, replace
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

import orjson
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.config import GatewaySettings
from gateway.hints import HintSender
from gateway.metrics import tell_of_accepted
from gateway.uploads import queries
from gateway.uploads.receive import StoredImage, Upload, discard
from thorax import tracing
from thorax.errors import Code, CodedError
from thorax.http.database import tenant_autocommit, tenant_scope
from thorax.states import ANONYMOUS_TENANT, OPEN_PRIORITY, JobState
from thorax.storage import BlobStore
from thorax.work import ledger

CAPACITY_AGE_S = 0.5


@dataclass(frozen=True)
class Sender:
    """Whose upload it is. Only those of the open API carry a capability and expire."""

    tenant_id: UUID
    owner: str
    anonymous: bool = False


class Accepted(BaseModel):
    """The receipt: everything named here is stored durably."""

    id: UUID = Field(description="The job's.", examples=["3f0c2b1e-6a55-4d0e-9a3e-2f2f4c1f7b11"])
    job_id: UUID = Field(description="The same.", examples=["3f0c2b1e-6a55-4d0e-9a3e-2f2f4c1f7b11"])
    study_id: UUID = Field(examples=["a1d7c9f4-53c1-4a39-8f43-6f1f0d2f9c02"])
    instance_ids: list[UUID] = Field(
        description="In the order of the files.", examples=[["77e0d9a6-0d0a-4f0c-8f2b-5f2d7d5f5c21"]]
    )
    state: JobState = JobState.QUEUED
    links: dict[str, str] = Field(
        examples=[
            {
                "self": "/v1/jobs/3f0c2b1e-6a55-4d0e-9a3e-2f2f4c1f7b11",
                "events": "/v1/jobs/3f0c2b1e-6a55-4d0e-9a3e-2f2f4c1f7b11/events",
            }
        ]
    )


class Acceptance:
    """Turns uploads into jobs, while there is room for them."""

    def __init__(
        self, settings: GatewaySettings, engine: AsyncEngine, blobs: BlobStore, hints: HintSender
    ) -> None:
        self._settings, self._engine, self._blobs, self._hints = settings, engine, blobs, hints
        self._waiting, self._waiting_until = 0, 0.0

    async def check_capacity(self, *, anonymous: bool = False) -> None:
        """Refuse before a body is read when too much work is waiting; the count may be half a second old.

        The open API is refused at half the mark, so that strangers can't shut out those who have an account.
        """
        if monotonic() > self._waiting_until:
            async with self._engine.connect() as connection:
                self._waiting = await connection.run_sync(ledger.waiting)
            self._waiting_until = monotonic() + CAPACITY_AGE_S
        if self._waiting > self._settings.high_water_steps // (2 if anonymous else 1):
            raise CodedError(Code.OVERLOADED, retry_after=15)

    async def check_retry(self, tenant_id: UUID) -> None:
        """Refuse a retry as an upload would be: it is as much work."""
        anonymous = tenant_id == ANONYMOUS_TENANT
        await self.check_capacity(anonymous=anonymous)
        async with tenant_autocommit(self._engine, tenant_id) as connection:
            opened = await queries.opened(connection, tenant_id)
        if not anonymous:
            _check_quota(opened, self._settings.open_jobs_per_tenant)

    async def accept(self, sender: Sender, upload: Upload, key: str | None) -> tuple[Accepted, int | None]:
        """Record study, job and first steps at once, or repeat the answer that an Idempotency-Key got before.

        DICOM images that are those of a known job (by SOP Instance UID and bytes) are answered with that job; with all that
        peers have sent of a study by now, it continues as that study, and need not settle any more. Returns
        the receipt, and how many jobs more the sender may have open (None: not known, or no such limit). Hints follow
        the commit. What was surely not recorded is erased; after any other error than a CodedError nobody knows, and
        the sweeper erases it an hour later if it was not.
        """
        try:
            accepted, opened = await self._once(sender, upload, key)
        except CodedError:
            await discard(self._blobs, upload.images)
            raise
        await discard(
            self._blobs, (image for image in upload.images if image.id not in accepted.instance_ids)
        )
        if opened is None:
            return accepted, None
        images = len(_different(upload))
        tell_of_accepted(accepted.job_id, sender.tenant_id, images)
        self._hints.prepare(images)
        return accepted, None if sender.anonymous else self._settings.open_jobs_per_tenant - opened

    async def _once(self, sender: Sender, upload: Upload, key: str | None) -> tuple[Accepted, int | None]:
        """The receipt, and how many jobs are open with it; None of a repeated one."""
        if sender.anonymous or not any(image.dicom for image in upload.images):
            async with tenant_autocommit(self._engine, sender.tenant_id) as connection:
                return await self._record(connection, sender, upload, key)
        async with tenant_scope(self._engine, sender.tenant_id) as connection:
            return await self._record_new(connection, sender, upload, key)

    async def _record_new(
        self, connection: AsyncConnection, sender: Sender, upload: Upload, key: str | None
    ) -> tuple[Accepted, int | None]:
        """As `_record`, unless all images are known as those of one job; the lock lasts for the transaction."""
        studies = [image.dicom.study for image in upload.images if image.dicom]
        await queries.lock_studies(connection, sender.tenant_id, studies)
        if given := await _given_before(connection, sender, upload, key):
            return given, None
        rows, callback_url = _rows(sender, upload), upload.fields.callback_url
        known = await queries.job_of_same(
            connection, sender.tenant_id, rows, full=upload.full, callback_url=callback_url
        )
        if known and not known.allowed:
            raise CodedError(Code.CALLBACK_NOT_ALLOWED)
        if known:
            if callback_url:
                await queries.call_too(connection, known.id, callback_url)
            ids = dict(zip(_different(upload), known.ids, strict=True))
            own = [ids[image] for image in upload.images]
            receipt = _receipt(known.id, known.study_id, own, JobState(known.state))
            if key is not None:
                await queries.remember(connection, _to_keep(sender, upload, key, receipt))
            return receipt, None
        if _is_one_study(upload) and (
            found := await queries.continued(connection, sender.tenant_id, studies[0], rows)
        ):
            return await self._record(connection, sender, _of_known(upload, found[1]), key, found[0])
        return await self._record(connection, sender, upload, key)

    async def _record(
        self,
        connection: AsyncConnection,
        sender: Sender,
        upload: Upload,
        key: str | None,
        continues: UUID | None = None,
    ) -> tuple[Accepted, int | None]:
        """Record it in one statement; `continues` is the study that it goes on with."""
        nonce = secrets.token_hex(32) if sender.anonymous else ""
        secret = _capability(nonce, key or "")
        link, images = _open_link(secret) if secret else "", [image.id for image in upload.images]
        receipt = _receipt(uuid4(), continues or uuid4(), images, link=link)
        studies = [image.dicom.study for image in upload.images if image.dicom and not sender.anonymous]
        quota = None if sender.anonymous else self._settings.open_jobs_per_tenant
        done = await queries.record(
            connection,
            {
                **_to_keep(sender, upload, key, receipt, nonce),
                "quota": quota,
                "images": _rows(sender, upload),
                "study_id": receipt.study_id,
                "study_instance_uid": studies[0] if studies else None,
                "title": upload.fields.title or ("" if continues else upload.images[0].file_name),
                "priority": OPEN_PRIORITY if sender.anonymous else upload.fields.priority.rank,
                "capability": hashlib.sha256(secret.encode()).digest() if secret else None,
                "callback_url": upload.fields.callback_url,
                "full": upload.full,
                "traceparent": tracing.traceparent(),
                "hours": self._settings.anonymous_hours if sender.anonymous else None,
            },
        )
        if done.recorded:
            return receipt, done.opened + 1
        if given := await _given_before(connection, sender, upload, key):
            return given, None
        if not done.allowed:
            raise CodedError(Code.CALLBACK_NOT_ALLOWED)
        if done.digest is None:
            raise CodedError(Code.BUNDLE_MISSING, retry_after=30)
        if quota is not None:
            _check_quota(done.opened, quota)
        raise CodedError(Code.OVERLOADED, retry_after=1)  # the key's job was erased at this very moment


async def _given_before(
    connection: AsyncConnection, sender: Sender, upload: Upload, key: str | None
) -> Accepted | None:
    """The answer that an Idempotency-Key got before. Raises CodedError if something else was sent with it."""
    if key is None:
        return None
    known = await queries.remembered(connection, sender.tenant_id, sender.owner, _name(key))
    return _replay(known, key, upload.fingerprint) if known else None


def _receipt(
    job_id: UUID, study_id: UUID, instance_ids: list[UUID], state: JobState = JobState.QUEUED, link: str = ""
) -> Accepted:
    links = _links(link or f"/v1/jobs/{job_id}")
    return Accepted(
        id=job_id, job_id=job_id, study_id=study_id, instance_ids=instance_ids, state=state, links=links
    )


def _different(upload: Upload) -> list[StoredImage]:
    return list(dict.fromkeys(upload.images))


def _is_one_study(upload: Upload) -> bool:
    """Whether all are DICOM images of one study, each with an SOP Instance UID of its own."""
    known = [image.dicom for image in _different(upload)]
    instances = {each.sop_instance for each in known if each}
    return (
        None not in known
        and len({each.study for each in known if each}) == 1
        and len(instances) == len(known)
    )


def _of_known(upload: Upload, ids: dict[int, UUID]) -> Upload:
    """The upload with the ids that its images have already, by position."""
    known = {
        image: replace(image, id=ids.get(place, image.id)) for place, image in enumerate(_different(upload))
    }
    return replace(upload, images=[known[image] for image in upload.images])


def _rows(sender: Sender, upload: Upload) -> str:
    """The images as the queries take them. The open API's have no identity: its senders know nothing of each other."""
    rows = [
        {
            **asdict(replace(image, dicom=None)),
            "position": place,
            "forced": upload.force,
            **(image.dicom.columns() if image.dicom and not sender.anonymous else {}),
        }
        for place, image in enumerate(_different(upload))
    ]
    return orjson.dumps(rows).decode()


def _check_quota(opened: int, quota: int) -> None:
    if opened >= quota:
        raise CodedError(
            Code.QUOTA_EXCEEDED, f"{opened} jobs are open; the limit is {quota}.", retry_after=10
        )


def _capability(nonce: str, key: str) -> str:
    """What opens an anonymous job; nothing without a nonce.

    The database keeps the nonce, the client its Idempotency-Key, and it takes both to say it again.
    """
    digest = hmac.digest(nonce.encode(), key.encode(), "sha256")
    return urlsafe_b64encode(digest).rstrip(b"=").decode() if nonce else ""


def _links(job: str) -> dict[str, str]:
    return {"self": job, "events": f"{job}/events"}


def _open_link(secret: str) -> str:
    return f"/v1/anonymous/jobs/{secret}"


def _name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _to_keep(
    sender: Sender, upload: Upload, key: str | None, accepted: Accepted, nonce: str = ""
) -> dict[str, Any]:
    """A job and the answer for its Idempotency-Key as they are stored: the nonce is in the place of the link that it makes."""
    job = {"tenant_id": sender.tenant_id, "owner": sender.owner, "job_id": accepted.job_id}
    if key is None:
        return {**job, "key": None, "fingerprint": None, "answer": None}
    answer = accepted.model_dump(mode="json") | ({"links": {}, "nonce": nonce} if nonce else {})
    return {
        **job,
        "key": _name(key),
        "fingerprint": upload.fingerprint,
        "answer": orjson.dumps(answer).decode(),
    }


def _replay(known: queries.AnyRow, key: str, fingerprint: str) -> Accepted:
    if known.fingerprint != fingerprint:
        raise CodedError(Code.IDEMPOTENCY_MISMATCH)
    answer = dict(known.answer)
    if nonce := answer.pop("nonce", ""):
        answer["links"] = _links(_open_link(_capability(nonce, key)))
    return Accepted.model_validate(answer)
