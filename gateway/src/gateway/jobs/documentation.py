"""What OpenAPI says about jobs beyond the types: the upload's form, headers, errors, and examples to copy."""

from typing import Any

from thorax.errors import Code
from thorax.findings import FINDINGS
from thorax.http.problems import responses

_JOB = "3f0c2b1e-6a55-4d0e-9a3e-2f2f4c1f7b11"
_STUDY = "a1d7c9f4-53c1-4a39-8f43-6f1f0d2f9c02"
_IMAGE = "77e0d9a6-0d0a-4f0c-8f2b-5f2d7d5f5c21"

UPLOAD_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "minItems": 1,
                            "maxItems": 20,
                            "description": "DICOM, PNG or JPEG images of one study",
                        },
                        "title": {"type": "string", "maxLength": 1024, "example": "PA, follow-up"},
                        "priority": {"type": "string", "enum": ["stat", "routine"], "default": "routine"},
                        "callback_url": {"type": "string", "description": "reserved"},
                    },
                }
            }
        },
    }
}
_UPLOAD_CODES = (
    Code.MALFORMED_MULTIPART,
    Code.BODY_TOO_LARGE,
    Code.BODY_TIMEOUT,
    Code.IMAGE_TOO_LARGE,
    Code.UNSUPPORTED_MEDIA,
    Code.NO_FILES,
    Code.TOO_MANY_FILES,
    Code.UNEXPECTED_FIELD,
    Code.EMPTY_FILE,
    Code.UNREADABLE_IMAGE,
    Code.IMAGE_SIZE,
    Code.IDEMPOTENCY_MISMATCH,
    Code.QUOTA_EXCEEDED,
    Code.OVERLOADED,
    Code.BUNDLE_MISSING,
    Code.STORAGE_FULL,
)
UPLOAD_ERRORS = responses(*_UPLOAD_CODES)
OPEN_UPLOAD_ERRORS = responses(*_UPLOAD_CODES, Code.RATE_LIMITED, Code.FEATURE_OFF)
READ_ERRORS = responses(Code.NOT_FOUND)
OWNERS_ERRORS = responses(Code.UNAUTHENTICATED, Code.FORBIDDEN)


def _header(description: str, kind: str = "string") -> dict[str, Any]:
    return {"description": description, "schema": {"type": kind}}


_RECEIPT = {
    "job_id": _JOB,
    "study_id": _STUDY,
    "instance_ids": [_IMAGE],
    "state": "queued",
    "links": {"self": f"/v1/jobs/{_JOB}"},
}
RECEIPT: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "Stored durably and queued",
        "headers": {
            "Location": _header("where to poll the job"),
            "Retry-After": _header("seconds until a poll may bring news", "integer"),
        },
        "content": {"application/json": {"example": _RECEIPT}},
    }
}
OPEN_RECEIPT: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "Stored durably and queued; the link is the only way to the job",
        "headers": {
            **RECEIPT[202]["headers"],
            "RateLimit": _header("uploads left (r) and seconds until there are more (t)"),
            "RateLimit-Policy": _header("uploads (q) per seconds (w) and address"),
        },
        "content": {
            "application/json": {"example": {**_RECEIPT, "links": {"self": "/v1/anonymous/jobs/9vK…"}}}
        },
    }
}
_FINDINGS = [
    {
        "finding": finding,
        "label": finding.label,
        "probability": round(0.1 + 0.15 * place, 2),
        "threshold": 0.5,
        "positive": place > 2,
        "disagreement": 0.08,
        "backbones": {
            "xception": round(0.12 + 0.15 * place, 2),
            "densenet121": round(0.08 + 0.15 * place, 2),
        },
    }
    for place, finding in enumerate(FINDINGS)
]
_JOB_EXAMPLE = {
    "id": _JOB,
    "state": "succeeded",
    "priority": "routine",
    "progress": {"done": 4, "total": 4},
    "stages": [],
    "version": 5,
    "bundle": {"name": "default", "version": "1.0", "digest": "5d41…"},
    "degraded": False,
    "missing_backbones": [],
    "created_at": "2026-01-01T12:00:00Z",
    "started_at": "2026-01-01T12:00:00.020Z",
    "finished_at": "2026-01-01T12:00:00.480Z",
    "expires_at": None,
    "timings": {"queued_s": 0.02, "prepare_s": 0.06, "infer_s": 0.38, "aggregate_s": 0.01, "total_s": 0.48},
    "error": None,
    "study": {
        "id": _STUDY,
        "title": "PA, follow-up",
        "study_instance_uid": None,
        "study_date": None,
        "findings": [{**view, "backbones": {}} for view in _FINDINGS],
    },
    "images": [
        {
            "id": _IMAGE,
            "position": 0,
            "file_name": "chest.png",
            "media_type": "image/png",
            "rows": 2022,
            "columns": 2022,
            "view_position": None,
            "sop_instance_uid": None,
            "state": "prepared",
            "error": None,
            "findings": _FINDINGS,
            "links": {"image": f"/v1/jobs/{_JOB}/images/{_IMAGE}/image.png"},
        }
    ],
    "links": {"self": f"/v1/jobs/{_JOB}", "events": f"/v1/jobs/{_JOB}/events"},
}
JOB: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The job as it is now",
        "headers": {"ETag": _header("its version, for `If-None-Match`")},
        "content": {"application/json": {"example": _JOB_EXAMPLE}},
    }
}
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "`job` events until the job ends, or one `erased`",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'event: job\nid: 3\ndata: {"state": "running", "progress": {"done": 1, "total": 4}}\n\n',
            }
        },
    }
}
