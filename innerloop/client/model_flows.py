"""The calls about models that are there: look, change, list versions and events, cancel, delete."""

from __future__ import annotations

import operator
import time
from types import EllipsisType
from typing import Any

from innerloop.client.events import events_request
from innerloop.client.inputs import plain
from innerloop.client.steps import Flow, ModelState, Request, asked_again, matching, once, pages, path_of


def models() -> Flow[list[dict[str, Any]]]:
    """Your models, newest first, all pages."""
    return (yield from pages("/v1/models", {"limit": 100}))


def model(model_id: str) -> Flow[ModelState]:
    """One model. Its `etag` is what changes take as `if_match`."""
    return ModelState.of((yield Request("GET", path_of(model_id))))


def update(
    model_id: str,
    *,
    name: str | EllipsisType | None = ...,
    ttl_seconds: int | EllipsisType | None = ...,
    stable: int | EllipsisType = ...,
    false_reject_rate: float | EllipsisType | None = ...,
    if_match: str | None = None,
) -> Flow[ModelState]:
    """Change what is said here and leave the rest; nothing is adapted. None takes the server's default again.

    Args:
        model_id: of a model, whatever its status.
        name: another one.
        ttl_seconds: its life from now on.
        stable: number of a ready version, which `version="stable"` asks from now on.
        false_reject_rate: target share, from 0, which rejects nothing, to below 1, of known queries that may be
            rejected.
        if_match: `etag` of the state that the change is meant for.

    Raises:
        InnerloopHTTPError: refused; `PreconditionFailed` where the model changed meanwhile, be it by this very call,
            sent again because the answer was lost.
    """
    given = {"name": name, "ttl_seconds": ttl_seconds, "stable": stable, "false_reject_rate": false_reject_rate}
    changes = {field: plain(value) for field, value in given.items() if value is not ...}
    return ModelState.of((yield Request("PATCH", path_of(model_id), json=changes, headers=matching(if_match))))


def versions(model_id: str) -> Flow[list[dict[str, Any]]]:
    """Every version of a model, newest first, all pages: classes, quality and what made it of which."""
    return (yield from pages(f"{path_of(model_id)}/versions", {"limit": 100}))


def version(model_id: str, number: int) -> Flow[dict[str, Any]]:
    """One version, with what `versions` leaves out: `change.old_examples`, how the examples that were there before fare
    in it, once it and the one that it was made of are measured.
    """
    return (yield Request("GET", f"{path_of(model_id)}/versions/{operator.index(number)}")).json()


def events(model_id: str, *, after: str | None = None) -> Flow[list[dict[str, Any]]]:
    """What happened to a model so far, oldest first, of all versions; `follow` goes on to what happens next.

    Each has `id`, `version`, `at`, and by its `event`: a `status`; of a `step`, its number from 0 as `step` and the
    `support_loss` before it; of a `webhook`, an attempt at it. Only about the last 1000 are kept.

    Args:
        model_id: of a model, whatever its status.
        after: `id` of the last event that is known already.
    """
    return (yield events_request(model_id, after, "application/json")).json()["data"]


def cancel(model_id: str) -> Flow[dict[str, Any]]:
    """Stop the newest adaptation that waits or runs; sent again where the connection breaks, it stops no other."""
    return (yield Request("POST", f"{path_of(model_id)}/cancel", headers=once())).json()


def quality(model_id: str, *, wait: float = 10) -> Flow[dict[str, Any]]:
    """How well it tells its own examples apart, each held out when it was asked, with warnings in words: `quality` of
    the model, which is there a moment after the model is ready.

    Raises:
        InnerloopHTTPError: refused.
        TimeoutError: not measured after `wait` seconds.
    """
    where, deadline = path_of(model_id), time.monotonic() + wait
    found = yield from asked_again(
        ModelState.of((yield Request("GET", where))),
        where,
        lambda found: found["quality"] is not None,
        deadline,
        lambda _: f"{model_id} is not measured after {wait:g} s",
        pause=0.05,
    )
    return found["quality"]


def delete(model_id: str, *, if_match: str | None = None) -> Flow[None]:
    """Forget a model.

    Raises:
        InnerloopHTTPError: refused; `PreconditionFailed` where it is not in the state that `if_match` names any more.
    """
    yield Request("DELETE", path_of(model_id), headers=matching(if_match), absent_is_done=True)
