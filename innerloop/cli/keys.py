"""`keys`: who may use a server. Works on its records, so it runs where the server or its Redis is."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from innerloop.cli.console import AsJson, ExitCode, fail, friendly, new_table, out, print_json, print_table
from innerloop.cli.server import DataDir, settings_of

if TYPE_CHECKING:
    from adapter.keys import Key, KeyStore, Scope


MAX_DAYS = 36_500


def register(app: typer.Typer) -> None:
    keys = typer.Typer(help="API keys of a server: create, list, revoke.", no_args_is_help=True)
    keys.command()(create)
    keys.command("list")(list_keys)
    keys.command()(revoke)
    keys.command()(usage)
    app.add_typer(keys, name="keys")


def create(
    owner: Annotated[str, typer.Argument(help="Whose models it sees: those of the owner's other keys too.")],
    name: Annotated[str, typer.Option(help="A name for people.")] = "",
    scope: Annotated[list[str] | None, typer.Option(help="predict, adapt or admin; again for more.")] = None,
    days: Annotated[float | None, typer.Option(help=f"Days until it expires, up to {MAX_DAYS}; else never.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=0, help="0: no limit; default 6,000.")] = None,
    adaptations_per_day: Annotated[int | None, typer.Option(min=0, help="0: no limit; default 10,000.")] = None,
    stored_models: Annotated[int | None, typer.Option(min=0, help="0: no limit; default 10,000.")] = None,
    stored_bytes: Annotated[int | None, typer.Option(min=0, help="0: no limit; default 1 GiB.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it, once: only its hash is kept."""
    from adapter.keys import SCOPES, Quota

    scopes: tuple[Scope, ...] = tuple(s for s in SCOPES if s in (scope or ("predict", "adapt")))
    if strange := set(scope or ()) - set(SCOPES):
        raise typer.BadParameter(f"{strange.pop()!r} is none of {', '.join(SCOPES)}", param_hint="--scope")
    if days is not None and not 0 <= days <= MAX_DAYS:
        raise typer.BadParameter(f"a key lives 0 to {MAX_DAYS} days, not {days:g}", param_hint="--days")
    asked = {
        "requests_per_minute": requests_per_minute,
        "adaptations_per_day": adaptations_per_day,
        "stored_models": stored_models,
        "stored_bytes": stored_bytes,
    }
    quota = Quota(**{name: limit or None for name, limit in asked.items() if limit is not None})
    ttl = None if days is None else round(days * 86400)
    with _store(data_dir) as store, friendly(ValueError):
        key, text = store.create(owner, name=name, scopes=scopes, quota=quota, ttl_seconds=ttl)
    if as_json:
        print_json({**_shown(key, None), "key": text, "webhook_secret": key.webhook_secret})
        return
    out.print(text, style="bold", highlight=False, soft_wrap=True)
    out.print(f"webhook secret: {key.webhook_secret}", style="dim", highlight=False, soft_wrap=True)
    out.print(f"{key.id} of {owner}: keep both, they are not shown again", style="dim", highlight=False)


def list_keys(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """All keys, the newest last; revoked and expired ones too."""
    with _store(data_dir) as store:
        used = store.last_used()
        keys = sorted(store.copy().keys.values(), key=lambda key: key.created_ms)
    shown = [_shown(key, used.get(key.id)) for key in keys]
    if as_json:
        print_json(shown)
        return
    table = new_table("key", "owner", "name", "scopes", "status", "created", "last used")
    table.columns[0].no_wrap = True
    for row in shown:
        moments = [(row[at] or "–")[:10] for at in ("created_at", "last_used_at")]
        table.add_row(row["id"], row["owner"], row["name"], ", ".join(row["scopes"]), row["status"], *moments)
    print_table(table)


def revoke(
    key: Annotated[str, typer.Argument(help="Id of the key, as `keys list` shows it.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """End a key, within a second, in every API process. Its owner's models stay."""
    with _store(data_dir) as store, friendly(KeyError):
        revoked = store.revoke(key)
    if as_json:
        print_json(_shown(revoked, None))
        return
    out.print(f"{revoked.id} of {revoked.owner} is revoked", highlight=False)


def usage(
    key: Annotated[str, typer.Argument(help="Id of the key, as `keys list` shows it.")],
    days: Annotated[int, typer.Option(min=1, max=90, help="How far back.")] = 30,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """What a key used, day by day (UTC)."""
    from adapter.usage import UsageStore

    with _store(data_dir) as store, friendly(KeyError):
        found = UsageStore(store.client).days(store.get(key).owner, key, days)
    if as_json:
        print_json([day.model_dump(mode="json") for day in found])
        return
    table = new_table("day", "adaptations", "predictions", "seconds adapting")
    for day in found:
        table.add_row(str(day.day), str(day.adaptations), str(day.predictions), f"{day.adapt_seconds:.1f}")
    print_table(table)


@contextmanager
def _store(data_dir: Any) -> Generator[KeyStore]:
    """The keys of the server that runs on the data folder, or of INNERLOOP_REDIS_URL."""
    import redis

    from adapter.keys import KeyStore
    from adapter.redis_store import connect
    from innerloop.embedded import ServeError, records_url

    with friendly(ServeError, ValueError):
        opened = connect(records_url(settings_of(data_dir=data_dir)))
    try:
        with opened as client:
            yield KeyStore(client)
    except (redis.ConnectionError, redis.TimeoutError) as error:
        told = f"the records' Redis does not answer: {error}; see whether the server runs"
        raise fail(f"{told}, or name another by --data-dir or INNERLOOP_REDIS_URL", ExitCode.TRY_AGAIN) from error
    except redis.RedisError as error:
        raise fail(f"the records' Redis refuses: {error}") from error


def _shown(key: Key, used_ms: int | None) -> dict[str, Any]:
    """A key as scripts read it."""
    from adapter.redis_store import now_ms

    return {
        "id": key.id,
        "owner": key.owner,
        "name": key.name,
        "scopes": list(key.scopes),
        "status": "revoked" if key.revoked_ms else "active" if key.is_valid(now_ms()) else "expired",
        "quota": key.quota.model_dump(),
        "created_at": _moment(key.created_ms),
        "expires_at": _moment(key.expires_ms),
        "revoked_at": _moment(key.revoked_ms),
        "last_used_at": _moment(used_ms),
    }


def _moment(ms: int | None) -> str | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC).isoformat()
