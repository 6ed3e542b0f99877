"""The ways to a destination, by its kind: PACSs get objects, webhooks are told."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Row

from aggregator.delivery import cstore, stow
from aggregator.delivery.items import Item, Items
from aggregator.delivery.service import Arrived, Channel
from aggregator.delivery.webhook import Webhooks
from thorax.storage import BlobStore

ARCHIVE_S = (5, 15, 30, 60)
"""A PACS has what waits a minute after it is back."""
REFUSED_S = (*ARCHIVE_S, 120, 300, 600)
"""A result that a PACS does not take for now, though it answers, is sent to it 150 times a day."""
WEBHOOK_S = (5, 60, 300, 1800)
"""A developer's server is asked about fifty times a day, and tells that an event is one that it has by its id."""


def to_archives(engine: Engine, blobs: BlobStore, tls_folder: Path | None) -> Mapping[str, Channel]:
    """What sends DICOM objects; `tls_folder` as `cstore.deliver` has it."""
    items = Items(engine, blobs)

    def by(deliver: Callable[[str, str | None, list[Item]], str]) -> Channel:
        def send(due: Row[Any], credentials: str | None) -> Arrived | None:
            made, unmade = items.of(due)
            return Arrived(deliver(due.url, credentials, made), unmade) if made else None

        return Channel(send, ARCHIVE_S, REFUSED_S)

    return {"dicomweb": by(stow.deliver), "dicom": by(partial(cstore.deliver, tls_folder=tls_folder))}


def to_webhooks(webhooks: Webhooks) -> Mapping[str, Channel]:
    """What tells that a job has ended."""
    return {"webhook": Channel(lambda due, secret: Arrived(webhooks.send(due, secret)), WEBHOOK_S, WEBHOOK_S)}
