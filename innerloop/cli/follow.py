"""`models follow`: what happens to a model, shown as it happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.text import Text

from innerloop.cli.console import AsJson, fail, friendly, out, print_line
from innerloop.cli.data import EXPECTED, Key, ModelId, Url, connect
from innerloop.client import DEFAULT_URL, Client

IDLE_SECONDS = 2.0
"""Between two looks at a model of which nothing is adapted: a later version, or an attempt at a webhook."""

BAR = 24
"""Characters that stand for the loss before a version's first step."""

STYLES = {"ready": "bold green", "failed": "bold red", "canceled": "yellow", "delivered": "green", "gave_up": "red"}

Show = Callable[[dict[str, Any]], None]


def follow(
    model: ModelId,
    go_on: Annotated[
        bool, typer.Option("--go-on", help="Go on after that, for later versions and webhooks, until Ctrl-C.")
    ] = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Show what happens to it, from the start and as it happens, until no version of it is adapted any more.

    Status, the loss before each step and attempts at webhooks, of all versions. Exit code 1 where the newest is not
    ready in the end.
    """
    with friendly(*EXPECTED):
        with connect(url, key) as hasty:
            hasty.model(model)  # a wrong address is told soon; a server that was there is waited for
        with Client(url, key) as client:
            newest = _settled(client, model, print_line if as_json else _Lines().show, go_on=go_on)
    if newest["status"] != "ready":
        found = newest["error"] or {"code": newest["status"], "detail": "adapt again to get one that is ready"}
        detail = f"version {newest['version']} is {newest['status']}: {found['detail']}"
        raise fail(detail, problem={**found, "detail": detail})


def _settled(client: Client, model: str, show: Show, *, go_on: bool) -> dict[str, Any]:
    """The newest version once it is settled and all its events are shown; never, where it is to go on."""
    last: str | None = None
    while True:
        for event in client.follow(model, after=last):
            show(event)
            last = event["id"]
        if go_on:
            time.sleep(IDLE_SECONDS)
            continue
        newest = client.version(model, client.model(model)["latest_version"])
        if newest["status"] not in ("queued", "adapting"):  # one that was made just now is
            return newest


class _Lines:
    """Events as lines for people."""

    def __init__(self) -> None:
        self._first: dict[int, float] = {}

    def show(self, event: dict[str, Any]) -> None:
        when, version = event["at"][:19].replace("T", " "), f"v{event['version']}"
        what = {"step": self._step, "webhook": _webhook, "status": _status}.get(event["event"], _other)(event)
        out.print(Text.assemble((when, "dim"), f"  {version:<4}", what), soft_wrap=True)

    def _step(self, event: dict[str, Any]) -> Text:
        """On a terminal with a bar, as long as the loss is beside that before the version's first step."""
        loss = event.get("support_loss")
        if loss is None:
            return Text.assemble(f"step {event['step']:>3}  support loss ", ("not finite", "red"))
        first = self._first.setdefault(event["version"], loss)
        length = min(2 * BAR, round(BAR * loss / first)) if first > 0 else 0
        line = f"step {event['step']:>3}  support loss "
        return (
            Text.assemble(f"{line}{loss:<10.4g}", ("━" * length, "cyan"))
            if out.is_terminal
            else Text(f"{line}{loss:.4g}")
        )


def _status(event: dict[str, Any]) -> Text:
    return Text(event["status"], STYLES.get(event["status"], "bold"))


def _other(event: dict[str, Any]) -> Text:
    """Of a later server."""
    return Text(event["event"])


def _webhook(event: dict[str, Any]) -> Text:
    told = event["webhook"]
    answer = told.get("http_status") or told.get("detail") or "no answer"
    outcome = (told["outcome"].replace("_", " "), STYLES.get(told["outcome"], "yellow"))
    return Text.assemble("webhook ", outcome, f"  {told['url']}, attempt {told['attempt']}: {answer}")
