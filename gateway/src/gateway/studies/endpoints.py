"""HTTP for studies that DICOM peers send."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from gateway.engine import engine_of
from gateway.studies import queries
from gateway.studies.settling import Settling
from thorax.errors import Code, CodedError
from thorax.http.authentication import Writer
from thorax.http.database import tenant_autocommit
from thorax.http.problems import responses

router = APIRouter(prefix="/v1/studies", tags=["DICOM"])


class Analysis(BaseModel):
    """The job that analyses all images of a study that have come."""

    id: UUID = Field(description="The job's.", examples=["3f0c2b1e-6a55-4d0e-9a3e-2f2f4c1f7b11"])
    links: dict[str, str] = Field(examples=[{"self": "/v1/jobs/3f0c2b1e-6a55-4d0e-9a3e-2f2f4c1f7b11"}])


@router.post(
    "/{study_instance_uid}/analyse",
    status_code=202,
    responses=responses(Code.UNAUTHENTICATED, Code.FORBIDDEN, Code.NOT_FOUND, Code.BUNDLE_MISSING),
)
async def analyse_study(
    caller: Writer, request: Request, study_instance_uid: Annotated[str, Path(max_length=64)]
) -> Analysis:
    """Analyse a study now that a DICOM peer has sent, instead of when it has been quiet for long enough."""
    settling: Settling = request.app.state.settling
    async with tenant_autocommit(engine_of(request), caller.tenant_id) as connection:
        study_id = await queries.hurry(connection, caller.tenant_id, study_instance_uid)
    if study_id is None:
        raise CodedError(Code.NOT_FOUND, "No DICOM peer has sent this study.")
    await settling.add_due_jobs()
    async with tenant_autocommit(engine_of(request), caller.tenant_id) as connection:
        job_id = await queries.newest_job(connection, study_id)
    if job_id is None:
        raise CodedError(Code.BUNDLE_MISSING, retry_after=30)
    return Analysis(id=job_id, links={"self": f"/v1/jobs/{job_id}"})
