"""Analyses an image on the platform that runs here, with the Python client."""

import asyncio
from pathlib import Path
from time import monotonic

from thorax_client import AsyncClient, Credentials, Job

PATIENCE_S = 120.0
AWAY_S = 10.0  # a platform that is not there is not waited for


async def analyse(base_url: str, person: Credentials, image: Path, state: Path) -> str:
    """What was found in `image`, as a person reads it; the strongest finding's overlay is kept in `state`.

    Raises ThoraxError, and OSError if a file can't be read or written.
    """
    overlay = state / f"{image.stem}-overlay.png"
    content = await asyncio.to_thread(image.read_bytes)
    async with AsyncClient(base_url, person, patience_s=AWAY_S) as thorax:
        began = monotonic()
        job = await thorax.analyze((image.name, content), title=image.name, timeout_s=PATIENCE_S)
        seconds = monotonic() - began
        strongest = max(job.findings, key=lambda finding: finding.probability)
        await asyncio.to_thread(overlay.write_bytes, await thorax.overlay(job.images[0], strongest.finding))
    return f"  {image}, analysed in {seconds:.1f} s\n\n{_table(job)}\n\n  overlay   {overlay}"


def _table(job: Job) -> str:
    rows = [
        f"  {f.label:<18} {f.probability:6.1%}   {f.threshold:6.1%}     {'yes' if f.positive else '-'}"
        for f in job.findings
    ]
    return "\n".join(["  finding            probability threshold  positive", *rows])
