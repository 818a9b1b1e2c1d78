"""Checks a patch of a model against what there is."""

from __future__ import annotations

from adapter.errors import Unprocessable
from adapter.models import ModelRecord
from adapter.versions import Patch
from api.adaptation import manifest_of
from api.schemas_requests import ModelPatch
from api.services import Services
from meta_models.manifest import NotCalibratedError


def checked(services: Services, record: ModelRecord, given: ModelPatch) -> Patch:
    """The patch to store; a field that was sent as null takes its default again.

    Raises:
        Unprocessable: too long a life, a version that is not ready, a false-reject rate that was not measured.
        MetaModelGone: for such a rate, where the meta-model is not published any more.
    """
    sent = given.model_fields_set
    ttl = (given.ttl_seconds or services.settings.usual_ttl_seconds) if "ttl_seconds" in sent else None
    if ttl is not None and ttl > services.settings.max_ttl_seconds:
        raise _refused(f"ttl_seconds is at most {services.settings.max_ttl_seconds}, not {ttl}", "ttl_seconds")
    if "stable" in sent:
        _check_stable(services, record, given.stable)
    if given.false_reject_rate is not None:
        _check_rate(services, record, given.false_reject_rate)
    return Patch(
        name=(given.name or "") if "name" in sent else None,
        ttl_seconds=ttl,
        stable=given.stable,
        false_reject=("" if given.false_reject_rate is None else given.false_reject_rate)
        if "false_reject_rate" in sent
        else None,
    )


def _check_stable(services: Services, record: ModelRecord, number: int) -> None:
    found = services.records.peek(record.owner, record.id, number)
    if found is None:
        raise _refused(f"model {record.id} has versions 1 to {record.head.latest}, not {number}", "stable")
    if found.status != "ready":
        raise _refused(f"version {number} is {found.status}; only one that is ready can be stable", "stable")


def _check_rate(services: Services, record: ModelRecord, rate: float) -> None:
    manifest = manifest_of(services, record)
    try:
        manifest.calibration_for(len(record.spec.classes), record.spec.mean_shot).reject_below(rate)
    except NotCalibratedError as error:
        raise Unprocessable(
            f"{manifest.reference}: {error}; 0 rejects nothing, null takes the default",
            code="rejection_not_calibrated",
            pointer="/false_reject_rate",
        ) from error


def _refused(detail: str, field: str) -> Unprocessable:
    return Unprocessable(detail, code="invalid_request", pointer=f"/{field}")
