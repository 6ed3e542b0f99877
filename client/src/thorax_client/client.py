"""The two faces of the client: `Client` blocks, `AsyncClient` is awaited. Both drive the flows of `thorax_client.flows`."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import TYPE_CHECKING, Any, Self, TypeVar

from thorax_client import plain
from thorax_client.credentials import Credentials
from thorax_client.flows import Answer, File, Flow, Flows, LostError, Pause, Which
from thorax_client.models import Image, Job, JobPage, JobSummary, Model, Receipt
from thorax_client.pictures import Maps, read_maps, read_png

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from thorax_client.by_httpx import Blocking

T = TypeVar("T")


def _carrier(base_url: str, options: dict[str, Any]) -> "plain.Connections | Blocking":
    if not options and plain.suffices():
        return plain.Connections(base_url)
    from thorax_client.by_httpx import Blocking

    return Blocking(base_url, options)


class _Common:
    """What both faces know."""

    def __init__(
        self, credentials: Credentials | None, patience_s: float, turn: AbstractContextManager[object]
    ) -> None:
        self._flows = Flows(credentials or Credentials(), patience_s, turn)


class Client(_Common):
    """A blocking client. A context manager; safe to share between threads.

    `patience_s`: how long requests are tried again when the platform is away or busy. Further keywords are httpx's
    (`verify`, `proxy`, …). Every method raises ThoraxError: ProblemError, UnreachableError, JobFailedError, StillRunningError.
    """

    def __init__(
        self,
        base_url: str,
        credentials: Credentials | None = None,
        *,
        patience_s: float = 120.0,
        **options: Any,
    ) -> None:
        super().__init__(credentials, patience_s, Lock())
        self._http = _carrier(base_url, options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def analyze(
        self,
        *files: File,
        title: str = "",
        priority: str = "",
        force: bool = False,
        full: bool = False,
        key: str | None = None,
        timeout_s: float = 600.0,
    ) -> Job:
        """Send the images of one study, wait, and give back the succeeded job. JobFailedError without a result.

        `force`: also what does not look like a frontal chest radiograph. `full`: by all networks, where the bundle asks only
        the first ones of what is clear. `key`: the Idempotency-Key, by default a new one, which makes this call's own
        repetitions safe.
        """
        return self._run(self._flows.analyze(files, title, priority, force, full, key, timeout_s))

    def submit(
        self,
        *files: File,
        title: str = "",
        priority: str = "",
        force: bool = False,
        full: bool = False,
        key: str | None = None,
        callback_url: str = "",
    ) -> Receipt:
        """Send the images of one study; all of it is stored durably when this returns.

        `callback_url`: told when the job has ended (see `job_event`); of the origin of a webhook of the tenant.
        """
        return self._run(self._flows.submit(files, title, priority, force, full, key, callback_url))

    def job(self, which: Which) -> Job:
        """The job as it is now."""
        return self._run(self._flows.job(which))

    def wait(self, which: Which, timeout_s: float = 600.0) -> Job:
        """The job once it has ended, however. StillRunningError if it has not by then."""
        return self._run(self._flows.wait(which, timeout_s))

    def changes(self, which: Which, timeout_s: float = 600.0) -> Iterator[Job]:
        """The job as it is now, and again after every visible change until it has ended or the time is up."""
        until = time.monotonic() + timeout_s
        job = self.job(which)
        yield job
        while not job.ended and (left := until - time.monotonic()) > 0:
            if changed := self._run(self._flows.change(which, job.version, left)):
                job = changed
                yield job

    def jobs(self, limit: int = 100, **filters: str) -> Iterator[JobSummary]:
        """All jobs of the tenant, newest first, page by page; `filters` are the list's query parameters."""
        page = JobPage(items=[], next="")
        while page.next is not None:
            page = self._run(self._flows.page(page.next, limit, filters))
            yield from page.items

    def models(self) -> list[Model]:
        """The registered bundles, the active one first."""
        return self._run(self._flows.models())

    def image(self, image: Image, size: int = 1024) -> "NDArray[np.uint8]":
        """The image as it was analysed, uint8 `[rows, columns]`, upright, bone light."""
        return read_png(self._run(self._flows.content(image.links["image"], size=str(size))))

    def maps(self, image: Image) -> Maps:
        """Where the networks looked, as arrays."""
        return read_maps(self._run(self._flows.content(image.links["heatmaps"])))

    def overlay(self, image: Image, finding: str, opacity: float = 0.5, size: int = 1024) -> bytes:
        """A PNG of the image with one finding's map over it."""
        params = {"opacity": str(opacity), "size": str(size)}
        return self._run(self._flows.content(image.links[f"overlay:{finding}"], **params))

    def original(self, image: Image) -> bytes:
        """The file exactly as it was sent."""
        return self._run(self._flows.content(image.links["original"]))

    def erase(self, which: Which) -> None:
        """Cancel the job if it is open, erase it if it has ended."""
        self._run(self._flows.erase(which))

    def retry(self, which: Which) -> Job:
        """Start a failed, cancelled or degraded job again."""
        return self._run(self._flows.retry(which))

    def again(self, which: Which, *, full: bool = False) -> Job:
        """Analyse a job's images again, by the bundle of now: the new job. It must have succeeded; not for the open API."""
        return self._run(self._flows.again(which, full))

    def create_client(self, name: str) -> Credentials:
        """A new machine client of the person who is logged in; its secret is told only now."""
        return self._run(self._flows.create_client(name))

    def _run(self, flow: Flow[T]) -> T:
        answer: Answer | None = None
        error: LostError | None = None
        while True:
            try:
                step = flow.throw(error) if error else flow.send(answer)
            except StopIteration as done:
                result: T = done.value
                return result
            answer = error = None
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                continue
            try:
                answer = self._http.request(step)
            except LostError as lost:
                error = lost


class AsyncClient(_Common):
    """The same to be awaited; `changes` and `jobs` are asynchronous iterators."""

    def __init__(
        self,
        base_url: str,
        credentials: Credentials | None = None,
        *,
        patience_s: float = 120.0,
        **options: Any,
    ) -> None:
        super().__init__(credentials, patience_s, nullcontext())
        from thorax_client.by_httpx import Awaited

        self._http = Awaited(base_url, options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """See Client."""
        await self._http.close()

    async def analyze(
        self,
        *files: File,
        title: str = "",
        priority: str = "",
        force: bool = False,
        full: bool = False,
        key: str | None = None,
        timeout_s: float = 600.0,
    ) -> Job:
        """See Client."""
        return await self._run(self._flows.analyze(files, title, priority, force, full, key, timeout_s))

    async def submit(
        self,
        *files: File,
        title: str = "",
        priority: str = "",
        force: bool = False,
        full: bool = False,
        key: str | None = None,
        callback_url: str = "",
    ) -> Receipt:
        """See Client."""
        return await self._run(self._flows.submit(files, title, priority, force, full, key, callback_url))

    async def job(self, which: Which) -> Job:
        """See Client."""
        return await self._run(self._flows.job(which))

    async def wait(self, which: Which, timeout_s: float = 600.0) -> Job:
        """See Client."""
        return await self._run(self._flows.wait(which, timeout_s))

    async def changes(self, which: Which, timeout_s: float = 600.0) -> AsyncIterator[Job]:
        """See Client."""
        until = time.monotonic() + timeout_s
        job = await self.job(which)
        yield job
        while not job.ended and (left := until - time.monotonic()) > 0:
            if changed := await self._run(self._flows.change(which, job.version, left)):
                job = changed
                yield job

    async def jobs(self, limit: int = 100, **filters: str) -> AsyncIterator[JobSummary]:
        """See Client."""
        page = JobPage(items=[], next="")
        while page.next is not None:
            page = await self._run(self._flows.page(page.next, limit, filters))
            for item in page.items:
                yield item

    async def models(self) -> list[Model]:
        """See Client."""
        return await self._run(self._flows.models())

    async def image(self, image: Image, size: int = 1024) -> "NDArray[np.uint8]":
        """See Client."""
        return read_png(await self._run(self._flows.content(image.links["image"], size=str(size))))

    async def maps(self, image: Image) -> Maps:
        """See Client."""
        return read_maps(await self._run(self._flows.content(image.links["heatmaps"])))

    async def overlay(self, image: Image, finding: str, opacity: float = 0.5, size: int = 1024) -> bytes:
        """See Client."""
        params = {"opacity": str(opacity), "size": str(size)}
        return await self._run(self._flows.content(image.links[f"overlay:{finding}"], **params))

    async def original(self, image: Image) -> bytes:
        """See Client."""
        return await self._run(self._flows.content(image.links["original"]))

    async def erase(self, which: Which) -> None:
        """See Client."""
        await self._run(self._flows.erase(which))

    async def retry(self, which: Which) -> Job:
        """See Client."""
        return await self._run(self._flows.retry(which))

    async def again(self, which: Which, *, full: bool = False) -> Job:
        """See Client."""
        return await self._run(self._flows.again(which, full))

    async def create_client(self, name: str) -> Credentials:
        """See Client."""
        return await self._run(self._flows.create_client(name))

    async def _run(self, flow: Flow[T]) -> T:
        import asyncio  # for nothing in a blocking client, and a tenth of the time that its command takes to start

        answer: Answer | None = None
        error: LostError | None = None
        while True:
            try:
                step = flow.throw(error) if error else flow.send(answer)
            except StopIteration as done:
                result: T = done.value
                return result
            answer = error = None
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                continue
            try:
                answer = await self._http.request(step)
            except LostError as lost:
                error = lost
