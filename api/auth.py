"""Who asks, and whether they may. A route says which scope it wants by the type of its `who`."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from adapter.errors import Forbidden
from adapter.keys import Key
from api.rate import refusal
from api.services import Services, services

_bearer = HTTPBearer(
    scheme_name="key",
    auto_error=False,
    description="`Authorization: Bearer il_…`, a key made by `innerloop keys create`, with the scope that an operation "
    "names; `admin` includes the others. A server on loopback asks for none until it has one.",
)


async def _caller(
    request: Request,
    s: Annotated[Services, Depends(services)],
    wanted: SecurityScopes,
    sent: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> Key:
    key = await s.keyring.holder(sent.credentials if sent else None)
    s.meter.saw(key)
    within, rate = await s.rate.hit(key)
    if rate is not None:
        request.state.answer_headers = rate.headers
        if not within:
            raise refusal(key, rate)
    for scope in wanted.scopes:
        if not key.allows(scope):
            raise Forbidden(
                f"{request.method} {request.url.path} needs a key with scope {scope!r}; "
                f"{key.id} has {', '.join(key.scopes)}"
            )
    return key


MayPredict = Annotated[Key, Security(_caller, scopes=["predict"])]
"""Looks at models and asks them."""

MayAdapt = Annotated[Key, Security(_caller, scopes=["adapt"])]
"""Makes, changes, takes away and deletes models."""

MayOperate = Annotated[Key, Security(_caller, scopes=["admin"])]
"""Looks at the whole service, all owners together."""
