"""Coded errors: a stable code, a sentence, and what to do. No framework in here."""

from enum import StrEnum
from typing import Self


class Code(StrEnum):
    """Stable error codes. Clients may switch on them, so none is ever renamed.

    A row: the code, its HTTP status (RFC 9110), its title, and the remedy told to the caller.
    """

    status: int
    title: str  # type: ignore[assignment]  # of a code, not in title case
    remedy: str

    def __new__(cls, code: str, status: int = 500, title: str = "", remedy: str = "") -> Self:
        """A row. (The defaults let a type checker accept `Code(value)`, the enum's own lookup.)"""
        row = str.__new__(cls, code)
        row._value_ = code
        row.status, row.title, row.remedy = status, title, remedy
        return row

    # fmt: off
    # requests
    VALIDATION = "validation_failed", 422, "The request is not valid", "Correct what `detail` names; `errors`, where there, lists every field."
    UNKNOWN_PARAMETER = "unknown_parameter", 400, "The URL has an unknown query parameter", "Use only the names in `parameters`."
    NOT_FOUND = "not_found", 404, "Not found", "Check the id. Other tenants' resources are never found."
    METHOD_NOT_ALLOWED = "method_not_allowed", 405, "This method is not allowed here", "Use a method that the Allow header lists."
    CONFLICT = "conflict", 409, "The current state does not allow this", "Fetch the current state, then decide."
    PRECONDITION = "precondition_failed", 412, "The resource has changed", "Fetch it again, then repeat the request."
    RANGE = "range_not_satisfiable", 416, "The file has no such bytes", "Ask for a range within the size that Content-Range names."
    MALFORMED_REQUEST = "malformed_request", 400, "This is not an HTTP request", "Use an HTTP client, without TLS on this port."
    HEADER_TOO_LARGE = "header_too_large", 431, "The request header is too large", "Send at most 32 KiB of header."
    BODY_TOO_LARGE = "body_too_large", 413, "The request body is too large", "Send fewer or smaller files per request."
    BODY_TIMEOUT = "body_timeout", 408, "The request body arrived too slowly", "Send it again over a faster connection."
    MALFORMED_MULTIPART = "malformed_multipart", 400, "The multipart body is malformed", "Send a valid `multipart/form-data` body."
    NO_FILES = "no_files", 422, "No image was sent", "Send 1 to 20 images in the field `files`."
    TOO_MANY_FILES = "too_many_files", 422, "The study has too many images", "Send at most 20 images per job."
    SEVERAL_PATIENTS = "several_patients", 422, "The images are of several patients", "Send each patient's images as a job of their own."
    UNEXPECTED_FIELD = "unexpected_field", 422, "The form has an unknown field", "Use `files`, `title`, `priority` and `callback_url` only."
    CALLBACK_NOT_ALLOWED = "callback_not_allowed", 422, "`callback_url` is not at a webhook of this tenant", "Ask an administrator for a webhook of the same origin."
    EMPTY_FILE = "empty_file", 422, "An image is empty", "Check the file, then send it again."
    UNSUPPORTED_MEDIA = "unsupported_media_type", 415, "The file is not DICOM, PNG or JPEG", "Send a DICOM, PNG or JPEG file."
    IMAGE_TOO_LARGE = "image_too_large", 413, "The image has too many pixels", "Send at most 64 megapixels."
    IMAGE_SIZE = "image_size_unusable", 422, "The image size does not fit a radiograph", "Send the whole radiograph."
    IDEMPOTENCY_MISMATCH = "idempotency_key_reused", 422, "This Idempotency-Key was used for another request", "Use a new key for a new request."
    UNKNOWN_FINDING = "unknown_finding", 404, "Unknown finding", "Use one of the five findings that /v1/models lists."
    NOT_ACCEPTABLE = "not_acceptable", 406, "No accepted media type is available", "Name a media type and transfer syntax that `detail` lists."
    NOT_READY = "result_not_ready", 409, "The result is not ready", "Poll the job until it has succeeded."
    # identity
    UNAUTHENTICATED = "unauthenticated", 401, "The credentials are missing or not valid", "Get a token at /auth/token."
    FORBIDDEN = "forbidden", 403, "The token lacks a scope for this", "Ask for a token with the required scope."
    CSRF = "csrf_failed", 403, "The CSRF token is missing or wrong", "Send the CSRF cookie's value in the header X-CSRF-Token."
    BAD_CREDENTIALS = "bad_credentials", 401, "The name or the password is wrong", "Check both. Five failures lock the account for a while."
    TOO_MANY_ATTEMPTS = "too_many_attempts", 429, "Too many failed attempts", "Wait as long as the Retry-After header says."
    SIGN_UP_CLOSED = "sign_up_closed", 403, "Sign-up is closed", "Ask an administrator for an account."
    NAME_TAKEN = "name_taken", 409, "This name is taken", "Choose another name, or log in."
    WEAK_PASSWORD = "weak_password", 422, "The password is too weak", "Choose another one."
    # capacity
    RATE_LIMITED = "rate_limited", 429, "Too many requests", "Wait as long as the Retry-After header says."
    QUOTA_EXCEEDED = "quota_exceeded", 429, "Too many open jobs", "Wait until some of them have finished."
    OVERLOADED = "overloaded", 503, "The platform is overloaded", "Retry as the Retry-After header says."
    UNAVAILABLE = "unavailable", 503, "A part of the platform is not available", "Retry as the Retry-After header says."
    STORAGE_FULL = "storage_full", 507, "The storage is full", "Nothing was stored. Tell the operator."
    FEATURE_OFF = "feature_off", 404, "This feature is disabled", "Ask the operator to enable it."
    # an image or a job that failed
    UNREADABLE_IMAGE = "unreadable_image", 422, "The image could not be decoded", "Export it again, then send the new file."
    DECODE_LIMIT = "decode_limit_exceeded", 422, "Decoding needed too much memory or time", "Send an ordinary radiograph."
    NOT_A_CHEST = "not_a_chest_radiograph", 422, "The image is not a chest radiograph", "Send chest radiographs only."
    NOT_FRONTAL = "not_a_frontal_view", 422, "The image is not a frontal view", "Send frontal views only (PA or AP)."
    STEP_DEAD = "step_gave_up", 500, "A processing step failed repeatedly", "Retry the job. The operator can see the failed step."
    NO_USABLE_IMAGE = "no_usable_image", 422, "No image could be analysed", "See the error of each image."
    INSTANCE_CONFLICT = "instance_conflict", 409, "Another image has the same SOP Instance UID", "Compare the two images, then correct the wrong one at its source."
    DESTINATION_AWAY = "destination_unavailable", 503, "A destination is not available", "Nothing. It is tried again, with growing pauses."
    DESTINATION_REFUSES = "destination_refuses", 502, "A destination refuses the result", "Correct the destination, then resend the delivery."
    DESTINATION_UNTRUSTED = "destination_untrusted", 502, "A destination and Thorax do not trust each other", "Correct the certificates that `detail` names, then resend the delivery."
    OBJECT_NOT_MADE = "object_not_made", 500, "A DICOM object could not be made", "Report `detail` and the software that made the image. The result itself is complete."
    ADDRESS_NOT_ALLOWED = "address_not_allowed", 422, "The address is private", "Use a public address, or let the operator allow its network."
    CANCELLED = "cancelled", 409, "The job was cancelled", "Send the study again if you need a result."
    # bundles
    BUNDLE_INVALID = "bundle_invalid", 500, "The model bundle is not valid", "Check it with `thorax bundle check`."
    BUNDLE_MISSING = "bundle_missing", 503, "No model bundle is active", "Register one with `thorax bundle register`."
    INTERNAL = "internal_error", 500, "An internal error occurred", "Retry. If it persists, report the request id."
    # fmt: on


class CodedError(Exception):
    """An error with a stable code. `detail` is one sentence about this very case, without patient data.

    `context` becomes extra members of the problem document; `retry_after` is in seconds.
    """

    def __init__(
        self, code: Code, detail: str = "", *, retry_after: int | None = None, **context: object
    ) -> None:
        super().__init__(f"{code}: {detail}" if detail else str(code))
        self.code = code
        self.detail = detail or f"{code.title}."
        self.retry_after = retry_after
        self.context = context
