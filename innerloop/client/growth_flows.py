"""The calls that take examples and classes out of a model, and that give a class another name.

A server takes no idempotency key for these. Sent again because its answer was lost, such a request could meet what came
in the place of what it took. So each is meant for one state of the model, that of `if_match` or the one just read: a
second try finds that state changed, does nothing, and what the change was tells whether the first did the work.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from innerloop.client.errors import NotFound, PreconditionFailed
from innerloop.client.flows import examples
from innerloop.client.inputs import label_text
from innerloop.client.steps import (
    Flow,
    ModelState,
    Request,
    followed,
    matching,
    path_of,
    segment,
    until_ready,
    version_path,
)

if TYPE_CHECKING:
    from innerloop.client.inputs import Label

TRIES = 5
"""Changes of others that one without `if_match` lets pass before it gives up."""

SHARED = ("name", "expires_at", "stable_version", "false_reject_rate")
"""What a model's versions have in common, and `update` changes."""

Examples = list[tuple[str, str]]
"""Label and id of each."""


def remove_example(
    model_id: str, example: str, *, label: Label | None = None, if_match: str | None = None, wait: float | None = 60
) -> Flow[ModelState]:
    """Take an example out and wait until the new version is ready. The last one of a class takes the class with it.

    An answer that is lost is no matter: what a second try finds done already is returned, and it never takes out what
    somebody added meanwhile. `ServerUnreachable` and `TimeoutError` leave open whether it was done; a call after those
    is another one, to which the same holds only by the same `if_match`, and which is refused where it was.

    Args:
        model_id: of a model with a version that is ready, or on its way.
        example: its `id`, as `examples` lists it.
        label: take it out of this class alone, where several have it.
        if_match: `etag` of the state that the change is meant for; None: of any.
        wait: seconds; None: not at all, the version that was accepted may be `queued` or `adapting`.

    Returns:
        The version. Its `etag` is there unless the answer was lost and the model changed once more.

    Raises:
        InnerloopHTTPError: refused; `NotFound` where there is no such example, `TooFewClasses` where too few would be
            left, `Forbidden` to a key without the scopes `adapt` and `predict`: the model is read before.
        PreconditionFailed: the model changed meanwhile; without `if_match`, again and again.
        AdaptationFailed, Canceled: the version was accepted and will not be after all.
        TimeoutError: not ready after `wait` seconds.
    """
    of = None if label is None else label_text(label, "the example")
    params = None if of is None else {"label": of}
    request = Request("DELETE", f"{path_of(model_id)}/examples/{segment(example)}", params=params)

    def change(found: Examples) -> Examples:
        return [(name, one) for name, one in found if one != example or of not in (None, name)]

    return (yield from _changed(model_id, request, change, if_match, wait))


def remove_class(
    model_id: str, name: Label, *, if_match: str | None = None, wait: float | None = 60
) -> Flow[ModelState]:
    """Take a class out, with its examples, and wait until the new version is ready.

    A lost answer, arguments, result and errors are as of `remove_example`; `name` is the class's.
    """
    gone = label_text(name, "the class")
    request = Request("DELETE", _class_path(model_id, gone))

    def change(found: Examples) -> Examples:
        return [(label, one) for label, one in found if label != gone]

    return (yield from _changed(model_id, request, change, if_match, wait))


def rename_class(
    model_id: str, name: Label, to: Label, *, if_match: str | None = None, wait: float | None = 60
) -> Flow[ModelState]:
    """Give the class `name` another one, `to`: a new version with the same weights, ready at once where the old one is.

    A lost answer, further arguments, result and errors are as of `remove_example`; a name that another class has is
    `Unprocessable`.
    """
    old, new = label_text(name, "the class"), label_text(to, "the new class")
    request = Request("PATCH", _class_path(model_id, old), json={"name": new})

    def change(found: Examples) -> Examples:
        return [(new if label == old else label, one) for label, one in found]

    return (yield from _changed(model_id, request, change, if_match, wait))


def _class_path(model_id: str, name: str) -> str:
    """Where a class is; a name may have slashes in it.

    Raises:
        ValueError: it would name something else: it is empty, or what paths go up by.
    """
    if name in ("", ".", ".."):
        raise ValueError(f"{name!r} is no name of a class")
    return f"{path_of(model_id)}/classes/{quote(name, safe='')}"


def _changed(
    model_id: str,
    request: Request,
    change: Callable[[Examples], Examples],
    if_match: str | None,
    wait: float | None,
) -> Flow[ModelState]:
    """Send a request that makes `change` of a state's examples, for that state alone; the version it makes."""
    wanted, place = matching(if_match), partial(version_path, model_id)
    deadline = time.monotonic() + (wait or 0)
    for left in reversed(range(TRIES)):
        known = ModelState.of((yield Request("GET", path_of(model_id))))
        try:
            return (yield from followed(replace(request, headers=wanted or matching(known.etag)), wait, place))
        except PreconditionFailed as error:
            made = (yield from _made_before(known, change)) if error.attempts > 1 else None
            if made is not None:
                return made if wait is None else (yield from until_ready(made, place(made), wait, deadline))
            if wanted or not left:
                raise
    raise AssertionError("unreachable")


def _made_before(known: ModelState, change: Callable[[Examples], Examples]) -> Flow[ModelState | None]:
    """The version that an earlier try made of a state, None where there is none.

    It is the next one after that state, whoever made it, and has the examples of its base as `change` leaves them.
    """
    model_id, number = known["id"], known["latest_version"] + 1
    try:
        made = ModelState.of((yield Request("GET", f"{path_of(model_id)}/versions/{number}")))
        before = yield from _listed(model_id, made["change"]["base"])
        after = yield from _listed(model_id, number)
        now = ModelState.of((yield Request("GET", path_of(model_id))))
    except NotFound:
        return None
    if sorted(change(before)) != sorted(after):
        return None
    if now["latest_version"] == number and all(now[shared] == known[shared] for shared in SHARED):
        made._etag = now.etag
    return made


def _listed(model_id: str, version: Any) -> Flow[Examples]:
    found = yield from examples(model_id, version=version)
    return [(example["label"], example["id"]) for example in found]
