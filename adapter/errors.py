"""Every error a client can meet. The class gives code, status and title; the instance says what happened.

InnerloopError
├── BadInput 4xx: MalformedRequest 400, Unauthorized 401, Forbidden 403, NotFound 404, NotReady 409,
│   AnotherSite 403, Canceled 409, NotCancelable 409, IdempotencyKeyInUse 409, Expired 410, LostUpdate 412,
│   TooLarge 413, UrlTooLong 414, UnsupportedMediaType 415, Unprocessable 422, HeadTooLarge 431
├── ExportDiffers 500: an export would not answer as the service does
├── Spent 429 (retryable, Retry-After): RateLimited, QuotaExceeded, TooManyStreams
└── Overload (retryable, Retry-After): QueueFull, StoreFull, NoWorker, StoreUnavailable, Stopping, StreamsFull,
    UploadsFull, AdaptationTimeout 503
"""

from __future__ import annotations

from typing import ClassVar, TypedDict


class ErrorItem(TypedDict, total=False):
    """One finding of `errors[]`: what is wrong, and where.

    `pointer` is a JSON Pointer (RFC 6901) into a JSON body, the name of a multipart part, or the name of a
    header or query parameter.
    """

    pointer: str
    code: str
    detail: str


class InnerloopError(Exception):
    """Base of all; `str(error)` is the detail a client reads."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    code: str = "internal_error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        pointer: str | None = None,
        errors: list[ErrorItem] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code or type(self).code
        if pointer is not None:
            errors = [{"pointer": pointer, "code": self.code, "detail": detail}]
        self.errors = errors or []
        self.retry_after = retry_after


class BadInput(InnerloopError):
    """The client can mend it."""

    status = 400


class MalformedRequest(BadInput):
    title, code = "Malformed request", "malformed_request"


class Unauthorized(BadInput):
    status, title, code = 401, "No valid API key", "unauthorized"


class Forbidden(BadInput):
    status, title, code = 403, "Not this key's scope", "forbidden"


class AnotherSite(BadInput):
    status, title, code = 403, "Asked by another site", "another_site"


class NotFound(BadInput):
    status, title, code = 404, "Not found", "not_found"


class MethodNotAllowed(BadInput):
    status, title, code = 405, "Method not allowed", "method_not_allowed"


class RequestTimeout(BadInput):
    status, title, code, retryable = 408, "Request body took too long", "body_timeout", True


class NotReady(BadInput):
    status, title, code, retryable = 409, "Not ready", "not_ready", True


class Canceled(BadInput):
    status, title, code = 409, "Canceled", "canceled"


class NotCancelable(BadInput):
    status, title, code = 409, "Nothing to cancel", "not_cancelable"


class MetaModelGone(BadInput):
    status, title, code = 409, "Meta-model not published here", "meta_model_gone"


class IdempotencyKeyInUse(BadInput):
    status, title, code = 409, "Idempotency key in use", "idempotency_key_in_use"


class Expired(BadInput):
    status, title, code = 410, "Expired", "expired"


class LostUpdate(BadInput):
    status, title, code = 412, "Changed meanwhile", "lost_update"


class TooLarge(BadInput):
    status, title, code = 413, "Too large", "too_large"


class UrlTooLong(BadInput):
    status, title, code = 414, "URL too long", "url_too_long"


class UnsupportedMediaType(BadInput):
    status, title, code = 415, "Unsupported media type", "unsupported_media_type"


class Unprocessable(BadInput):
    """Understood but wrong; `code` says which: too_few_classes, undecodable_image, …"""

    status, title, code = 422, "Unprocessable", "unprocessable"


class HeadTooLarge(BadInput):
    status, title, code = 431, "Headers too large", "head_too_large"


class Overload(InnerloopError):
    """Nothing is wrong with the request; try again after `retry_after` seconds."""

    status, retryable = 503, True

    def __init__(self, detail: str, *, retry_after: float = 1.0) -> None:
        super().__init__(detail, retry_after=retry_after)


class QueueFull(Overload):
    title, code = "Queue full", "queue_full"


class StoreFull(Overload):
    title, code = "Store full", "store_full"


class NoWorker(Overload):
    title, code = "No worker", "no_worker"


class StoreUnavailable(Overload):
    title, code = "Store unavailable", "store_unavailable"


class Stopping(Overload):
    title, code = "Server stopping", "stopping"


class AdaptationTimeout(Overload):
    title, code = "Adaptation still running", "adaptation_timeout"


class StreamsFull(Overload):
    title, code = "Too many listeners", "streams_full"


class UploadsFull(Overload):
    title, code = "Too many uploads", "uploads_full"


class Spent(InnerloopError):
    """The key has used what it may; it can go on after `retry_after` seconds."""

    status, retryable = 429, True

    def __init__(self, detail: str, *, retry_after: float) -> None:
        super().__init__(detail, retry_after=retry_after)


class RateLimited(Spent):
    title, code = "Too many requests", "rate_limited"


class QuotaExceeded(Spent):
    title, code = "Quota used up", "quota_exceeded"


class TooManyStreams(Spent):
    title, code = "Too many event streams", "too_many_streams"


class AdaptationFailed(InnerloopError):
    """The worker gave up; the record keeps the reason."""

    status, title, code = 422, "Adaptation failed", "adaptation_failed"


class ExportDiffers(InnerloopError):
    """Promise 9: rather no export than one that answers otherwise than the service."""

    status, title, code = 500, "Export differs from what is served", "export_differs"
