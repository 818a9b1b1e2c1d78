"""What a server refuses, as exceptions by the `code` of its problem document.

InnerloopHTTPError
├── MalformedRequest 400, Unauthorized 401, Forbidden 403, NotFound 404
├── Conflict 409: NotReady, Canceled, NotCancelable, IdempotencyKeyInUse, MetaModelGone
├── Expired 410, PreconditionFailed 412, UnsupportedMediaType 415
├── TooLarge 413, 414, 431: ImageTooLarge, AudioTooLarge
├── Unprocessable 422: TooFewClasses, TooManyClasses, TooManyExamples, BadLabel, UndecodableImage, BlankImage,
│   UndecodableAudio, SilentAudio, ClippedAudio, UnknownMetaModel, AdaptationFailed ─ AdaptationDiverged
├── Overloaded (try again after `retry_after`): RateLimited 429 ─ QuotaExceeded, TooManyStreams;
│   QueueFull, StoreFull, NoWorker, StoreUnavailable, StreamsFull, UploadsFull 503
└── ServerFault 500: ExportDiffers
ServerUnreachable (a ConnectionError): nobody answers at that address
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class InnerloopHTTPError(Exception):
    """The server refused.

    Attributes:
        problem: the problem document (RFC 9457).
        code: stable name of what went wrong.
        status: HTTP status.
        errors: each finding with its `pointer`, `code` and `detail`; whoever knows which `file` it is may add that.
        retry_after: seconds that the server asks to wait, where it does.
        attempts: times that the request was sent; of more than one, an earlier one may have done its work.
    """

    status_codes: ClassVar[tuple[int, ...]] = ()
    codes: ClassVar[tuple[str, ...]] = ()

    def __init__(self, problem: Mapping[str, Any], retry_after: float | None = None) -> None:
        super().__init__(problem)
        self.problem = dict(problem)
        self.code: str = problem.get("code", "unknown")
        self.status: int = problem.get("status", 0)
        self.errors: list[dict[str, Any]] = problem.get("errors") or []
        self.retry_after = retry_after
        self.attempts = 1

    def __str__(self) -> str:
        told = str(self.problem.get("detail"))
        lines = [f"{self.code} ({self.status}): {told}"]
        if self.status == 401:
            lines.append("  Client(url, api_key) and --key take one, and so does INNERLOOP_API_KEY of the command line")
        is_new = len(self.errors) > 1 or any("file" in e or str(e.get("detail")) not in told for e in self.errors)
        findings = self.errors if is_new else []
        lines += [f"  {e.get('file') or e.get('pointer', '')}: {e.get('detail')}" for e in findings[:5]]
        if len(self.errors) > 5:
            lines.append(f"  … and {len(self.errors) - 5} more")
        return "\n".join(lines)


class MalformedRequest(InnerloopHTTPError):
    status_codes = (400,)


class Unauthorized(InnerloopHTTPError):
    status_codes = (401,)


class Forbidden(InnerloopHTTPError):
    status_codes = (403,)


class NotFound(InnerloopHTTPError):
    status_codes = (404,)


class Conflict(InnerloopHTTPError):
    status_codes = (409,)


class NotReady(Conflict):
    codes = ("not_ready",)


class Canceled(Conflict):
    codes = ("canceled",)


class NotCancelable(Conflict):
    codes = ("not_cancelable",)


class IdempotencyKeyInUse(Conflict):
    codes = ("idempotency_key_in_use",)


class MetaModelGone(Conflict):
    codes = ("meta_model_gone",)


class Expired(InnerloopHTTPError):
    status_codes = (410,)


class PreconditionFailed(InnerloopHTTPError):
    status_codes = (412,)


class TooLarge(InnerloopHTTPError):
    status_codes = (413, 414, 431)


class UnsupportedMediaType(InnerloopHTTPError):
    status_codes = (415,)


class Unprocessable(InnerloopHTTPError):
    status_codes = (422,)


class TooFewClasses(Unprocessable):
    codes = ("too_few_classes",)


class TooManyClasses(Unprocessable):
    codes = ("too_many_classes",)


class TooManyExamples(Unprocessable):
    codes = ("too_many_examples",)


class BadLabel(Unprocessable):
    codes = ("bad_label",)


class UndecodableImage(Unprocessable):
    codes = ("undecodable_image", "empty_image")


class BlankImage(Unprocessable):
    codes = ("blank_image",)


class ImageTooLarge(TooLarge):
    codes = ("image_too_large",)


class UndecodableAudio(Unprocessable):
    codes = ("undecodable_audio", "empty_audio")


class SilentAudio(Unprocessable):
    codes = ("silent_audio",)


class ClippedAudio(Unprocessable):
    codes = ("clipped_audio",)


class AudioTooLarge(TooLarge):
    codes = ("audio_too_large",)


class UnknownMetaModel(Unprocessable):
    codes = ("unknown_meta_model",)


class AdaptationFailed(Unprocessable):
    codes = ("adaptation_failed", "worker_died")


class AdaptationDiverged(AdaptationFailed):
    codes = ("adaptation_diverged",)


class Overloaded(InnerloopHTTPError):
    status_codes = (503,)


class RateLimited(Overloaded):
    status_codes = (429,)


class QuotaExceeded(RateLimited):
    codes = ("quota_exceeded",)


class TooManyStreams(RateLimited):
    codes = ("too_many_streams",)


class QueueFull(Overloaded):
    codes = ("queue_full",)


class StoreFull(Overloaded):
    codes = ("store_full",)


class NoWorker(Overloaded):
    codes = ("no_worker",)


class StoreUnavailable(Overloaded):
    codes = ("store_unavailable",)


class StreamsFull(Overloaded):
    codes = ("streams_full",)


class UploadsFull(Overloaded):
    codes = ("uploads_full",)


class ServerFault(InnerloopHTTPError):
    status_codes = (500,)


class ExportDiffers(ServerFault):
    codes = ("export_differs",)


class ServerUnreachable(ConnectionError):
    """Nobody answers at that address, or the connection broke every time."""


def _family(base: type[InnerloopHTTPError]) -> list[type[InnerloopHTTPError]]:
    return [base, *(member for child in base.__subclasses__() for member in _family(child))]


_BY_CODE = {code: kind for kind in _family(InnerloopHTTPError) for code in kind.codes}
_BY_STATUS = {status: kind for kind in _family(InnerloopHTTPError) for status in kind.__dict__.get("status_codes", ())}


def error_of(problem: Mapping[str, Any], retry_after: float | None = None) -> InnerloopHTTPError:
    """The exception for a problem document: by its code, else by its status."""
    kind = _BY_CODE.get(problem.get("code", "")) or _BY_STATUS.get(problem.get("status", 0), InnerloopHTTPError)
    return kind(problem, retry_after)
