"""Checks a webhook that a client asks for, as far as that goes without asking the network."""

from __future__ import annotations

import re
from ipaddress import ip_address

import httpx

from adapter.errors import Unprocessable
from adapter.keys import Key
from adapter.webhooks import Webhook, check_secret
from api.schemas_requests import WebhookIn
from api.services import Services

_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")


def checked(services: Services, who: Key, asked: WebhookIn | None) -> Webhook | None:
    """The webhook to store, signed with the request's secret or else the key's.

    Raises:
        Unprocessable: no URL that may be called, no secret, or one of another shape.
    """
    if asked is None:
        return None
    secret = asked.secret or who.webhook_secret
    if secret is None:
        raise Unprocessable(
            "webhook.secret signs the messages; send one, or ask with a key of `innerloop keys`, which has its own",
            code="invalid_webhook",
            pointer="/webhook/secret",
        )
    try:
        check_secret(secret)
    except ValueError as error:
        raise Unprocessable(str(error), code="invalid_webhook", pointer="/webhook/secret") from error
    return Webhook(_checked_url(services, asked.url), secret)


def _checked_url(services: Services, text: str) -> str:
    def refused(why: str) -> Unprocessable:
        return Unprocessable(f"webhook.url: {why}", code="invalid_webhook", pointer="/webhook/url")

    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as error:
        raise refused(str(error)) from error
    if url.scheme not in ("http", "https") or not url.host:
        raise refused("give an http or https URL with a host")
    if url.userinfo:
        raise refused("leave out user and password: messages are signed")
    if url.port is not None and not 0 < url.port < 65536:
        raise refused(f"{url.port} is no port")
    try:
        address = ip_address(url.host)
    except ValueError as error:  # a name: looked up when there is something to send
        if not _HOST.fullmatch(url.raw_host.decode()):
            raise refused(f"{url.host!r} is no host") from error
        return str(url)
    if not services.reach.includes(address):
        raise refused(f"{address} is not on the public internet; INNERLOOP_WEBHOOK_NETWORKS may allow it")
    return str(url)
