"""`/v1/models/{id}/events`: what happens to a model while it is adapted."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Response
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send

from adapter.events import EVENT_ID, check_event_id
from api.answers import ANSWERS
from api.auth import MayPredict
from api.elements import preferred
from api.openapi import problems
from api.schemas_events import EventList, ModelEvent
from api.services import Services, services
from api.streams import END_SECONDS

router = APIRouter(prefix="/v1/models", tags=["models"])

S = Annotated[Services, Depends(services)]

PING_SECONDS = 15

STREAM, LIST = "text/event-stream", "application/json"

# Before OpenAPI 3.2 the schema of a stream is that of each event.
_SENT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "event": {"type": "string", "enum": ["status", "step", "webhook"]},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/ModelEvent"},
        },
    },
    "required": ["id", "event", "data"],
}

_SHOWN = ANSWERS["EventList"]["data"][-1]

_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events, or a list where `Accept` prefers `application/json`",
        "content": {
            STREAM: {
                "schema": _SENT,
                "example": "id: {id}\nevent: {event}\ndata: {data}\n\n".format(data=json.dumps(_SHOWN), **_SHOWN),
            }
        },
    },
    204: {"description": "Nothing happened after `Last-Event-ID`, and nothing will: do not reconnect"},
}


@router.get("/{model_id}/events", response_model=EventList, responses={**_ANSWERS, **problems(404, 410, 422)})
async def list_events(
    model_id: str,
    s: S,
    who: MayPredict,
    accept: Annotated[str, Header(description="`text/event-stream` (default) or `application/json`.")] = "*/*",
    last_event_id: Annotated[
        str | None, Header(description="Go on after this event.", json_schema_extra={"pattern": f"^({EVENT_ID})?$"})
    ] = None,
) -> Response:
    """Status changes and the support loss before each inner step, of all versions; ends once nothing is adapted."""

    async def is_over() -> bool:
        return not (await s.in_store(s.records.newest_open, who.owner, model_id)).is_open

    async def may_listen() -> bool:
        return await s.keyring.still_opens(who)

    over = await is_over()
    after = check_event_id(last_event_id) if last_event_id else None
    if preferred(accept, STREAM, LIST) == LIST:
        found = await s.in_store(s.records.events, who.owner, model_id, after)
        body = EventList(data=[ModelEvent.of(e, who) for e in found]).model_dump_json(exclude_none=True)
        return Response(body, media_type=LIST)
    if over and after and not await s.in_store(s.records.events, who.owner, model_id, after):
        return Response(status_code=204)

    async def told() -> AsyncGenerator[ServerSentEvent]:
        async for event in s.streams.follow(who.owner, model_id, after, is_over, may_listen):
            data = ModelEvent.of(event, who).model_dump_json(exclude_none=True)
            yield ServerSentEvent(data, id=event.id, event=event.event)

    stream = _Stream(
        told(), ping=PING_SECONDS, headers={"Cache-Control": "no-store"}, shutdown_grace_period=END_SECONDS
    )
    stream.place = s.streams.place(who.owner)
    return stream


class _Stream(EventSourceResponse):
    """Begins where there is a place for one more listener, and holds it until it ends."""

    place: AbstractAsyncContextManager[None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self.place:
            await super().__call__(scope, receive, send)
