"""Who asks, and whether they may. A route says which scope it wants by the type of its `who`."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from adapter.errors import AnotherSite, Forbidden
from adapter.keys import LOCAL, Key
from api.keyring import LOOPBACK
from api.rate import refusal
from api.services import Services, services

_bearer = HTTPBearer(
    scheme_name="key",
    auto_error=False,
    description="The key alone, `il_…`, without the word Bearer: one made by `innerloop keys create`, with the scope "
    "that an operation names; `admin` includes the others. A server on loopback asks for none until it has one.",
)


async def _caller(
    request: Request,
    s: Annotated[Services, Depends(services)],
    wanted: SecurityScopes,
    sent: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> Key:
    key = await s.keyring.holder(sent.credentials if sent else None)
    if key == LOCAL:
        _check_local(request, s.settings.origins)
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


def _check_local(request: Request, named_origins: list[str]) -> None:
    """Where no key is asked for, no page of another site may be the one who asks, unless the operator named its origin:
    a browser sends its requests here under the name by which the page knows this machine, or says where the page came
    from.

    Raises:
        AnotherSite: either is.
    """
    for header in ("host", "origin"):
        given = request.headers.get(header)
        if given is None or (header == "origin" and given in named_origins):
            continue
        name = _name_in(given if header == "origin" else f"//{given}")
        if name not in LOOPBACK and not re.fullmatch(r"127(\.[0-9]{1,3}){3}", name):
            raise AnotherSite(
                f"{header.title()} {given[:100]!r} is not this machine, and this server has no API keys; "
                "ask it at 127.0.0.1 or localhost, or make a key with `innerloop keys create`; "
                "INNERLOOP_ALLOWED_ORIGINS names the origins whose pages may ask"
            )


def _name_in(address: str) -> str:
    """The host that an address names; empty where it names none, or is malformed."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


MayPredict = Annotated[Key, Security(_caller, scopes=["predict"])]
"""Looks at models and asks them."""

MayAdapt = Annotated[Key, Security(_caller, scopes=["adapt"])]
"""Makes, changes, takes away and deletes models."""

MayOperate = Annotated[Key, Security(_caller, scopes=["admin"])]
"""Looks at the whole service, all owners together."""
