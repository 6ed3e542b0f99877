"""Signing keys over time: the first one, the next one, and the keyring that every replica keeps up to date."""

import asyncio
from datetime import UTC, datetime, timedelta

from auth_service.context import Transaction
from auth_service.keys import queries
from auth_service.keys.keyring import LEAD, OVERLAP


async def load_keys(tx: Transaction) -> None:
    """Bring the keyring up to date. The first replica ever creates the first key."""
    rows = await queries.published(tx.db)
    if all(row.retires_at for row in rows):
        await queries.lock(tx.db)
        rows = await queries.published(tx.db)
        if all(row.retires_at for row in rows):
            key = await asyncio.to_thread(tx.app.encryption.new_key, datetime.now(UTC))
            rows.append(await tx.add(key))
    tx.app.keyring.load(rows)


async def rotate_keys(tx: Transaction, *, compromised: bool = False) -> datetime:
    """Publish a new key; when it starts to sign. The keys before it retire once their tokens have expired.

    `compromised`: the new one signs now and all others end now, and with them all access tokens.
    """
    await queries.lock(tx.db)
    starts = datetime.now(UTC) + (timedelta(0) if compromised else LEAD)
    await queries.retire_all(tx.db, starts + (timedelta(0) if compromised else OVERLAP))
    await tx.add(await asyncio.to_thread(tx.app.encryption.new_key, starts))
    return starts
