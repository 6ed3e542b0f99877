"""Coded errors: a stable code, a sentence, and what to do. No framework in here."""

from enum import StrEnum
from typing import NamedTuple


class ErrorSpec(NamedTuple):
    """What one code means: HTTP status (RFC 9110), title, and the remedy told to the caller."""

    status: int
    title: str
    remedy: str


class Code(StrEnum):
    """Stable error codes. Clients may switch on them, so none is ever renamed."""

    # requests
    VALIDATION = "validation_failed"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    CONFLICT = "conflict"
    PRECONDITION = "precondition_failed"
    MALFORMED_REQUEST = "malformed_request"
    HEADER_TOO_LARGE = "header_too_large"
    BODY_TOO_LARGE = "body_too_large"
    BODY_TIMEOUT = "body_timeout"
    MALFORMED_MULTIPART = "malformed_multipart"
    NO_FILES = "no_files"
    TOO_MANY_FILES = "too_many_files"
    UNEXPECTED_FIELD = "unexpected_field"
    EMPTY_FILE = "empty_file"
    UNSUPPORTED_MEDIA = "unsupported_media_type"
    IMAGE_TOO_LARGE = "image_too_large"
    IMAGE_SIZE = "image_size_unusable"
    IDEMPOTENCY_MISMATCH = "idempotency_key_reused"
    UNKNOWN_FINDING = "unknown_finding"
    NOT_READY = "result_not_ready"
    # identity
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    CSRF = "csrf_failed"
    BAD_CREDENTIALS = "bad_credentials"
    TOO_MANY_ATTEMPTS = "too_many_attempts"
    SIGN_UP_CLOSED = "sign_up_closed"
    NAME_TAKEN = "name_taken"
    WEAK_PASSWORD = "weak_password"  # noqa: S105
    # capacity
    RATE_LIMITED = "rate_limited"
    QUOTA_EXCEEDED = "quota_exceeded"
    OVERLOADED = "overloaded"
    UNAVAILABLE = "unavailable"
    STORAGE_FULL = "storage_full"
    FEATURE_OFF = "feature_off"
    # an image or a job that failed
    UNREADABLE_IMAGE = "unreadable_image"
    DECODE_LIMIT = "decode_limit_exceeded"
    NOT_A_CHEST = "not_a_chest_radiograph"
    NOT_FRONTAL = "not_a_frontal_view"
    STEP_DEAD = "step_gave_up"
    NO_USABLE_IMAGE = "no_usable_image"
    CANCELLED = "cancelled"
    # bundles
    BUNDLE_INVALID = "bundle_invalid"
    BUNDLE_MISSING = "bundle_missing"
    INTERNAL = "internal_error"


SPECS: dict[Code, ErrorSpec] = {
    Code.VALIDATION: ErrorSpec(422, "The request is not valid", "Correct the fields named in `errors`."),
    Code.NOT_FOUND: ErrorSpec(
        404, "No such thing", "Check the id; ids of other tenants are not found either."
    ),
    Code.METHOD_NOT_ALLOWED: ErrorSpec(405, "This method is not allowed here", "See the API documentation."),
    Code.CONFLICT: ErrorSpec(409, "The state does not allow this", "Read the current state, then decide."),
    Code.PRECONDITION: ErrorSpec(412, "It changed in the meantime", "Fetch it again, then repeat."),
    Code.MALFORMED_REQUEST: ErrorSpec(400, "This is no HTTP request", "Use an HTTP client, and no TLS here."),
    Code.HEADER_TOO_LARGE: ErrorSpec(431, "The header is too large", "Send at most 32 kB of header."),
    Code.BODY_TOO_LARGE: ErrorSpec(413, "The body is too large", "Send fewer or smaller files per request."),
    Code.BODY_TIMEOUT: ErrorSpec(408, "The body came too slowly", "Send it again over a faster connection."),
    Code.MALFORMED_MULTIPART: ErrorSpec(
        400, "The multipart body is malformed", "Send `multipart/form-data`."
    ),
    Code.NO_FILES: ErrorSpec(422, "No image was sent", "Send 1 to 20 images in the field `files`."),
    Code.TOO_MANY_FILES: ErrorSpec(422, "Too many images for one study", "Send at most 20 images per job."),
    Code.UNEXPECTED_FIELD: ErrorSpec(422, "An unknown field was sent", "Use `files`, `title`, `priority`."),
    Code.EMPTY_FILE: ErrorSpec(422, "An image is empty", "Send the image's bytes."),
    Code.UNSUPPORTED_MEDIA: ErrorSpec(
        415, "This is no DICOM, PNG or JPEG", "Send a DICOM, PNG or JPEG file."
    ),
    Code.IMAGE_TOO_LARGE: ErrorSpec(413, "The image has too many pixels", "Send at most 64 megapixels."),
    Code.IMAGE_SIZE: ErrorSpec(422, "The image's size can't be a radiograph", "Send the whole radiograph."),
    Code.IDEMPOTENCY_MISMATCH: ErrorSpec(
        422, "This Idempotency-Key came with another body", "Use a new key for a new request."
    ),
    Code.UNKNOWN_FINDING: ErrorSpec(404, "No such finding", "Use one of the five findings of /v1/models."),
    Code.NOT_READY: ErrorSpec(409, "The result is not there yet", "Poll the job until it has succeeded."),
    Code.UNAUTHENTICATED: ErrorSpec(401, "No valid credentials", "Get a token at /auth/token."),
    Code.FORBIDDEN: ErrorSpec(
        403, "The token lacks a scope for this", "Ask for a token with the scope named."
    ),
    Code.CSRF: ErrorSpec(403, "The CSRF token is missing or wrong", "Send the csrf cookie as X-CSRF-Token."),
    Code.BAD_CREDENTIALS: ErrorSpec(
        401, "Name or password is wrong", "Check both; five failures lock for a while."
    ),
    Code.TOO_MANY_ATTEMPTS: ErrorSpec(429, "Too many failed attempts", "Wait as long as Retry-After says."),
    Code.SIGN_UP_CLOSED: ErrorSpec(403, "Sign-up is closed", "Ask an administrator for an account."),
    Code.NAME_TAKEN: ErrorSpec(409, "This name is taken", "Choose another name, or log in."),
    Code.WEAK_PASSWORD: ErrorSpec(422, "The password is too weak", "Use at least 12 characters."),
    Code.RATE_LIMITED: ErrorSpec(429, "Too many requests", "Wait as long as Retry-After says."),
    Code.QUOTA_EXCEEDED: ErrorSpec(429, "Too many open jobs", "Wait until some of them have finished."),
    Code.OVERLOADED: ErrorSpec(503, "More work is waiting than can be done soon", "Retry after Retry-After."),
    Code.UNAVAILABLE: ErrorSpec(503, "A part of the service is not available", "Retry after Retry-After."),
    Code.STORAGE_FULL: ErrorSpec(507, "The storage is full", "Nothing was stored; tell the operator."),
    Code.FEATURE_OFF: ErrorSpec(404, "This feature is switched off", "Ask the operator."),
    Code.UNREADABLE_IMAGE: ErrorSpec(422, "The image could not be decoded", "Export it again and resend it."),
    Code.DECODE_LIMIT: ErrorSpec(
        422, "Decoding needed too much memory or time", "Send an ordinary radiograph."
    ),
    Code.NOT_A_CHEST: ErrorSpec(
        422, "The file says that it is no chest radiograph", "Send chest radiographs only."
    ),
    Code.NOT_FRONTAL: ErrorSpec(
        422, "The file says that it is a lateral view", "The networks know frontal views only (PA, AP)."
    ),
    Code.STEP_DEAD: ErrorSpec(
        500, "A step failed again and again", "Retry the job; the operator sees the step."
    ),
    Code.NO_USABLE_IMAGE: ErrorSpec(422, "None of the images could be analysed", "See each image's error."),
    Code.CANCELLED: ErrorSpec(409, "The job was cancelled", "Post it again if you need it."),
    Code.BUNDLE_INVALID: ErrorSpec(500, "The model bundle is not valid", "Run `thorax bundle check` on it."),
    Code.BUNDLE_MISSING: ErrorSpec(
        503, "No model bundle is active", "Register one: `thorax bundle register`."
    ),
    Code.INTERNAL: ErrorSpec(
        500, "Something went wrong on our side", "Retry; if it stays, report the request id."
    ),
}


class CodedError(Exception):
    """An error with a stable code. `detail` is one sentence about this very case, without patient data.

    `context` becomes extra members of the problem document; `retry_after` is in seconds.
    """

    def __init__(
        self, code: Code, detail: str = "", *, retry_after: int | None = None, **context: object
    ) -> None:
        super().__init__(f"{code}: {detail}" if detail else str(code))
        self.code = code
        self.detail = detail or SPECS[code].title + "."
        self.retry_after = retry_after
        self.context = context

    @property
    def spec(self) -> ErrorSpec:
        """Status, title and remedy of this code."""
        return SPECS[self.code]
