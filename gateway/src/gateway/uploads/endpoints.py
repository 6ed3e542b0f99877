"""HTTP for uploads: with an account (`/v1/jobs`) and without (`/v1/anonymous/jobs`)."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from gateway.jobs.endpoints import Full
from gateway.uploads.accept import Acceptance, Accepted, Sender
from gateway.uploads.rate_limit import UploadRateLimit
from gateway.uploads.receive import IMAGES, Fields, Receiver
from thorax.errors import Code, CodedError
from thorax.http.address import client_address
from thorax.http.authentication import Writer
from thorax.http.problems import responses
from thorax.states import ANONYMOUS_TENANT

router = APIRouter()

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="Makes a repetition safe, for a day or until the job is erased.",
    ),
]
Force = Annotated[
    bool,
    Query(
        description="Analyse images although they are refused as no frontal chest radiographs; each result says so."
    ),
]
_CODES = (
    *(Code.MALFORMED_MULTIPART, Code.BODY_TOO_LARGE, Code.BODY_TIMEOUT),
    *(Code.NO_FILES, Code.TOO_MANY_FILES, Code.UNEXPECTED_FIELD, Code.SEVERAL_PATIENTS),
    *(Code.EMPTY_FILE, Code.UNSUPPORTED_MEDIA, Code.UNREADABLE_IMAGE, Code.IMAGE_TOO_LARGE, Code.IMAGE_SIZE),
    *(Code.CALLBACK_NOT_ALLOWED, Code.IDEMPOTENCY_MISMATCH, Code.QUOTA_EXCEEDED, Code.OVERLOADED),
    *(Code.BUNDLE_MISSING, Code.STORAGE_FULL),
)


def _form() -> dict[str, Any]:
    """The form for OpenAPI, since the body is read as a stream and not by FastAPI."""
    schema = Fields.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    files = {
        "type": "array",
        "items": {"type": "string", "format": "binary"},
        "minItems": 1,
        "maxItems": 20,
        "description": "DICOM, PNG or JPEG images of one study.",
    }
    schema["properties"] = {IMAGES: files, **schema["properties"]}
    content = {"multipart/form-data": {"schema": {**schema, "required": [IMAGES]}}}
    return {"requestBody": {"required": True, "content": content}}


def open_jobs(quota: int, room: int) -> dict[str, str]:
    """How many jobs more a tenant may have open, as draft-ietf-httpapi-ratelimit-headers says it.

    It names no window `t`: room is made when a job ends.
    """
    policy = f'"open-jobs";q={quota};qu="concurrent-requests"'
    return {"RateLimit-Policy": policy, "RateLimit": f'"open-jobs";r={room}'}


def _receipt(description: str, **headers: str) -> dict[int | str, dict[str, Any]]:
    told = {
        "Location": "Where to poll the job.",
        "Retry-After": "Seconds until a poll may bring news.",
        **headers,
    }
    described = {name: {"description": text, "schema": {"type": "string"}} for name, text in told.items()}
    return {202: {"description": description, "headers": described}}


@router.post(
    "/v1/jobs",
    tags=["jobs"],
    status_code=202,
    openapi_extra=_form(),
    responses={
        **_receipt(
            "Stored durably and queued.",
            **{
                "RateLimit": "Jobs more that the tenant may have open (r).",
                "RateLimit-Policy": "Jobs (q) that it may have open at once.",
            },
        ),
        **responses(Code.UNAUTHENTICATED, Code.FORBIDDEN, *_CODES),
    },
)
async def post_job(
    request: Request,
    response: Response,
    caller: Writer,
    key: Key = None,
    force: Force = False,
    full: Full = False,
) -> Accepted:
    """Upload 1 to 20 images of one patient's study. The answer is sent once all of them are stored durably; then poll the job."""
    return await _take(
        request, response, Sender(caller.tenant_id, caller.subject), key, force=force, full=full
    )


@router.post(
    "/v1/anonymous/jobs",
    tags=["open API"],
    status_code=202,
    openapi_extra=_form(),
    responses={
        **_receipt(
            "Stored durably and queued. Only the link in the receipt opens the job.",
            **{
                "RateLimit": "Uploads left (r), and seconds until there are more (t).",
                "RateLimit-Policy": "Uploads (q) per address in a number of seconds (w).",
            },
        ),
        **responses(*_CODES, Code.RATE_LIMITED, Code.FEATURE_OFF),
    },
)
async def post_anonymous_job(request: Request, response: Response, key: Key = None) -> Accepted:
    """Upload without an account. Only the link in the receipt opens the job, and all of it is erased after a day."""
    limit: UploadRateLimit = request.app.state.upload_rate_limit
    if not limit.settings.anonymous:
        raise CodedError(Code.FEATURE_OFF, "The open API is switched off on this server.")
    address = client_address(request, limit.settings.trusted_proxies)
    response.headers.update(await limit.count(address))
    return await _take(request, response, Sender(ANONYMOUS_TENANT, f"anonymous:{address}", True), key)


async def _take(
    request: Request,
    response: Response,
    sender: Sender,
    key: str | None,
    *,
    force: bool = False,
    full: bool = False,
) -> Accepted:
    receiver: Receiver = request.app.state.receiver
    acceptance: Acceptance = request.app.state.acceptance
    await acceptance.check_capacity(anonymous=sender.anonymous)
    upload = await receiver.receive(request)
    upload.force, upload.full = force, full
    accepted, room = await acceptance.accept(sender, upload, key)
    if room is not None:
        response.headers.update(open_jobs(receiver.settings.open_jobs_per_tenant, room))
    response.headers.update({"Location": accepted.links["self"], "Retry-After": "1"})
    return accepted
