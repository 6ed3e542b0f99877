"""Signing keys over time: the first one, the next one, and the ring that every replica keeps up to date."""

import asyncio
from datetime import UTC, datetime, timedelta

from auth_service.keys import LEAD, OVERLAP
from auth_service.parts import Parts
from auth_service.repository import Repository


async def load_keys(parts: Parts, repository: Repository) -> None:
    """Bring the keyring up to date; the very first replica makes the first key."""
    rows = await repository.keys.published()
    if not any(row.retires_at is None for row in rows):
        await repository.keys.lock()
        rows = await repository.keys.published()
        if not any(row.retires_at is None for row in rows):
            row = await asyncio.to_thread(parts.vault.new_key, datetime.now(UTC))
            await repository.keys.add(row)
            rows.append(row)
    parts.keyring.load(rows)


async def rotate_keys(parts: Parts, repository: Repository, *, compromised: bool = False) -> datetime:
    """Publish a new key; when it starts to sign. The keys before it retire once their tokens have expired.

    `compromised`: the new one signs now and all others end now, and with them every token out there.
    """
    await repository.keys.lock()
    starts = datetime.now(UTC) + (timedelta(0) if compromised else LEAD)
    await repository.keys.retire_all(starts + (timedelta(0) if compromised else OVERLAP))
    await repository.keys.add(await asyncio.to_thread(parts.vault.new_key, starts))
    return starts
