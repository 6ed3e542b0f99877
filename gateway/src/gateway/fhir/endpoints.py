"""HTTP for a job's answer as FHIR."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from gateway.fhir.bundle import bundle
from gateway.jobs.endpoints import ACCOUNT_ERRORS, READ_ERRORS, Service, entity_tag, own_job
from gateway.jobs.service import Access

MEDIA_TYPE = "application/fhir+json"
router = APIRouter(prefix="/v1/jobs", tags=["jobs"], responses=ACCOUNT_ERRORS)
_FOUND: dict[int | str, dict[str, Any]] = {
    200: {"description": "A FHIR R4 Bundle.", "content": {MEDIA_TYPE: {"schema": {"type": "object"}}}}
}


@router.get("/{job_id}/fhir", responses={**READ_ERRORS, **_FOUND}, response_class=Response)
async def get_job_as_fhir(service: Service, access: Annotated[Access, Depends(own_job)]) -> Response:
    """Fetch the answer as FHIR R4: a Bundle of a DiagnosticReport, Observations, ImagingStudy and Device."""
    job = await service.view(access, "fhir")
    headers = {"ETag": entity_tag(job.version), "Cache-Control": "private, no-cache"}
    return Response(bundle(job), headers=headers, media_type=MEDIA_TYPE)
