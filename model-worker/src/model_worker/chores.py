"""What a worker does besides steps: forms of images for DICOMweb's readers, and images that came under a known UID."""

from uuid import UUID

import structlog
from sqlalchemy import Engine

from model_worker import queries
from model_worker.sandbox.answers import CODES
from model_worker.sandbox.client import make_forms, pixel_digest
from thorax.database import transactional
from thorax.errors import Code, CodedError
from thorax.forms import Forms
from thorax.storage import ORIGINAL, BlobStore

_log = structlog.get_logger(__name__)


class Chores:
    """Done one by one; each is locked while it is done, so that no two workers do the same."""

    def __init__(self, engine: Engine, blobs: BlobStore, timeout_s: float) -> None:
        self._engine, self._blobs, self._timeout_s = engine, blobs, timeout_s
        self._transactional = transactional(engine)

    def do_one(self) -> bool:
        """Make the forms of an image that a reader waits for, or compare one that came under a known SOP Instance UID."""
        with self._engine.connect() as connection:  # nearly always all that it comes to
            forms, aside = queries.chores(connection)
        return (forms and self.make_forms()) or (aside and self._compare())

    def make_forms(self) -> bool:
        """Make the forms of the image that a reader has waited for the longest; whether there was one."""
        try:
            with self._transactional.begin() as connection:
                wanted = queries.wanted_forms(connection)
                if wanted:
                    queries.record_forms(connection, wanted, self._forms(wanted))
        except (OSError, CodedError) as error:
            _log.warning("forms_not_made", error=type(error).__name__)
            return False
        return wanted is not None

    def pixels_differ(self, instance_id: UUID, before: UUID) -> bool | None:
        """Whether two DICOM files show other pixels; None if one of them shows none."""
        try:
            ours, theirs = (
                pixel_digest(self._blobs.get(i, ORIGINAL), timeout_s=self._timeout_s)
                for i in (instance_id, before)
            )
        except FileNotFoundError:  # erased
            return None
        return ours != theirs if ours and theirs else None

    def _forms(self, instance_id: UUID) -> Forms:
        """What a DICOM file's forms are, which are stored; without any if the file can't be read."""
        try:
            forms, blobs = make_forms(self._blobs.get(instance_id, ORIGINAL), timeout_s=self._timeout_s)
        except FileNotFoundError:  # erased
            return Forms(error=Code.NOT_FOUND)
        except CodedError as error:
            if error.code not in CODES:
                raise
            return Forms(error=error.code)
        for name, data in blobs.items():
            self._blobs.put(instance_id, name, data)
        return forms

    def _compare(self) -> bool:
        try:
            with self._transactional.begin() as connection:
                aside = queries.image_aside(connection)
                if aside:
                    same = self.pixels_differ(*aside) is False
                    queries.decide_conflict(connection, aside[0], same=same)
        except OSError as error:
            _log.warning("not_compared", error=type(error).__name__)
            return False
        return aside is not None
