"""What is stored of a study, and in which forms. Forms are made by a worker when they are asked for the first time."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.dicomweb import queries
from gateway.hints import HintSender
from gateway.studies.header import is_uid
from thorax.errors import Code, CodedError
from thorax.forms import Forms
from thorax.http.database import tenant_autocommit

LOOK_AGAIN_S = 0.05
DERIVE_WAIT_S = 10  # for our own objects; the images are worth showing without
_FORMS = TypeAdapter(Forms)


@dataclass(frozen=True)
class Target:
    """UIDs of a study, of a series in it, or of an instance in that."""

    study: str
    series: str | None = None
    sop: str | None = None


@dataclass(frozen=True)
class Stored:
    """One instance, its file and, once they were asked for, its forms."""

    id: UUID
    series: str | None
    sop: str
    transfer_syntax: str
    size: int
    sha256: str
    forms: Forms | None


class Archive:
    """Finds instances of one tenant, and waits for their forms for at most `wait_s`."""

    def __init__(self, engine: AsyncEngine, hints: HintSender, *, wait_s: float = 25) -> None:
        self._engine, self._hints, self._wait_s = engine, hints, wait_s

    async def find(self, tenant_id: UUID, target: Target) -> list[Stored]:
        """The instances of a target, at least one. Raises CodedError(NOT_FOUND)."""
        if not all(is_uid(uid) for uid in (target.study, target.series, target.sop) if uid is not None):
            raise CodedError(Code.NOT_FOUND)
        await self.derived(tenant_id, target)
        async with tenant_autocommit(self._engine, tenant_id) as connection:
            rows = await queries.instances(connection, tenant_id, target.study, target.series, target.sop)
        if not rows:
            raise CodedError(Code.NOT_FOUND)
        return [
            Stored(
                row.id,
                row.series_instance_uid,
                row.sop_instance_uid,
                row.transfer_syntax,
                row.size_bytes,
                row.sha256,
                _FORMS.validate_python(row.forms) if row.forms else None,
            )
            for row in rows
        ]

    async def derived(self, tenant_id: UUID, target: Target) -> None:
        """Returns once our own objects of a whole study are there, which are made when somebody looks for the first time,
        or have not come in time."""
        if target.series is not None:
            return
        deadline = monotonic() + DERIVE_WAIT_S
        while monotonic() < deadline:
            async with tenant_autocommit(self._engine, tenant_id) as connection:
                if not await queries.derivation_open(connection, tenant_id, target.study):
                    return
            await asyncio.sleep(LOOK_AGAIN_S)

    async def with_forms(self, tenant_id: UUID, found: Sequence[Stored]) -> list[tuple[Stored, Forms]]:
        """The instances and their forms, once all are made. Raises CodedError(UNAVAILABLE) where that takes too long."""
        missing = [one.id for one in found if one.forms is None]
        made = await self._made(tenant_id, missing) if missing else {}
        complete = [one if one.forms else replace(one, forms=made.get(one.id)) for one in found]
        return [(one, one.forms or Forms(error=Code.NOT_FOUND)) for one in complete]

    async def _made(self, tenant_id: UUID, ids: list[UUID]) -> dict[UUID, Forms]:
        async with tenant_autocommit(self._engine, tenant_id) as connection:
            await queries.want_forms(connection, ids)
        self._hints.prepare(len(ids))
        deadline = monotonic() + self._wait_s
        while True:
            async with tenant_autocommit(self._engine, tenant_id) as connection:
                found = await queries.forms(connection, ids)
            if all(found.values()):
                return {id_: _FORMS.validate_python(forms) for id_, forms in found.items()}
            if monotonic() > deadline:
                raise CodedError(Code.UNAVAILABLE, "The images are still being read.", retry_after=5)
            await asyncio.sleep(LOOK_AGAIN_S)
