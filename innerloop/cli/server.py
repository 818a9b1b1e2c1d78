"""`serve`, `api` and `worker`: the whole service, or its parts."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from innerloop.cli.console import AsJson, err, friendly, out, print_line

Host = Annotated[str | None, typer.Option(help="Address to listen on; INNERLOOP_HOST.")]
Port = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Port to listen on, 0 for a free one; INNERLOOP_PORT.")
]
DataDir = Annotated[Path | None, typer.Option(help="Folder for everything that is kept; INNERLOOP_DATA_DIR.")]

log = logging.getLogger("innerloop.api")


def register(app: typer.Typer) -> None:
    app.command()(serve)
    app.command()(api)
    app.command()(worker)


def serve(host: Host = None, port: Port = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Run everything on this machine: Redis, a worker and the API. With --json one line says when it is ready."""
    from adapter.keys import keys_of_settings
    from adapter.logs import set_up
    from innerloop.embedded import Embedded, ServeError

    set_up()
    with friendly(ServeError, ValueError):
        settings = settings_of(host=host, port=port, data_dir=data_dir)
        keys_of_settings(settings.api_keys)  # malformed ones are refused before anything starts
        _check_meta_models(settings)  # so are damaged folders and names taken twice
        # One Ctrl-C or SIGTERM ends the wait below; the context then stops the parts in order.
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: _interrupt(stop))
        try:
            with err.status("starting Redis, worker and API …"):
                running = Embedded(settings).__enter__()
            try:
                _say_ready(running.url, running.data, _nobody_may_ask(settings), as_json=as_json)
                running.wait()
            finally:
                running.__exit__()
        except KeyboardInterrupt:
            if not as_json:
                out.print("stopped")


def api() -> None:
    """Run the API alone; INNERLOOP_REDIS_URL says where the records are."""
    import uvicorn

    from adapter.keys import keys_of_settings
    from adapter.logs import LOGGING, set_up
    from api.files import allow_files
    from innerloop.embedded import ServeError, url_of, usable_port

    set_up()
    with friendly(ServeError, ValueError):
        settings = settings_of()
        _ = settings.records_url
        keys_of_settings(settings.api_keys)
        port = usable_port(settings.host, settings.port)
        _check_meta_models(settings)
    allow_files()
    log.info("starting at %s", url_of(settings.host, port))
    with _counting_together(settings):
        uvicorn.run(
            "api.app:create_app",
            factory=True,
            http="api.protocol:Protocol",
            ws="none",
            host=settings.host,
            port=port,
            workers=settings.api_processes,
            log_config=LOGGING,
            log_level="warning",
            timeout_graceful_shutdown=5,
            timeout_worker_healthcheck=60,  # a process that is busy that long is not yet hung
            server_header=False,
        )


def worker() -> None:
    """Run a worker alone; INNERLOOP_REDIS_URL says where the jobs are."""
    from meta_models.memory import kept_for_good

    with kept_for_good():
        from adapter.celery_worker import main
        from adapter.logs import set_up_worker

    set_up_worker()
    with friendly(ValueError):
        settings = settings_of()
        _check_meta_models(settings)
        main(settings)


def _check_meta_models(settings: Any) -> None:
    """All of them, before processes begin that would each say it their own way.

    Raises:
        ManifestError: one is damaged, or two have the same name; names the file or the folders.
    """
    from meta_models.catalogue import Catalogue

    Catalogue(settings.meta_models_dir)


@contextmanager
def _counting_together(settings: Any) -> Generator[None]:
    """Several processes behind one port count into files of one folder, so that each answers `/metrics` for all.

    In the data folder where there is one: elsewhere files that are old are swept away on many a machine.
    """
    if settings.api_processes == 1:
        yield
        return
    from innerloop.embedded import METRICS

    data = settings.data_dir if os.access(settings.data_dir, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix=METRICS, dir=data) as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # noqa: TID251 - prometheus_client takes it from there alone
        yield


def _say_ready(url: str, data: Path, keyless: bool, *, as_json: bool) -> None:
    if as_json:
        print_line({"status": "ready", "url": url, "docs": f"{url}/docs", "data": str(data), "needs_key": keyless})
        return
    out.print(Text.assemble("Innerloop is ready at ", (url, "bold"), f"  (API docs: {url}/docs)"), soft_wrap=True)
    if keyless:
        out.print("no API keys yet, so nobody may ask: innerloop keys create OWNER", style="yellow")
    out.print(f"data in {data}; Ctrl-C stops it", style="dim", soft_wrap=True, highlight=False)


def settings_of(**given: Any) -> Any:
    """Settings of the environment, with what the command line says on top.

    Raises:
        ValueError: names each variable whose value cannot be.
    """
    from pydantic import ValidationError

    from adapter.config import Settings

    try:
        return Settings(**{key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        raise ValueError("\n  ".join(map(_refused, error.errors()))) from error


def _refused(found: Any) -> str:
    """One finding of pydantic's; a check of our own says it all itself."""
    if own := found.get("ctx", {}).get("error"):
        return str(own)
    name = "_".join(map(str, found["loc"])).upper()
    return f"INNERLOOP_{name} is {found['input']!r}: {found['msg'][:1].lower()}{found['msg'][1:]}"


def _nobody_may_ask(settings: Any) -> bool:
    """Beyond loopback everyone needs a key."""
    from adapter.keys import KeyStore
    from adapter.redis_store import connect
    from api.keyring import LOOPBACK
    from innerloop.embedded import records_url

    if settings.host in LOOPBACK or settings.api_keys:
        return False
    with connect(records_url(settings)) as client:
        return not KeyStore(client).copy().keys


def _interrupt(stop: threading.Event) -> None:
    if not stop.is_set():
        stop.set()
        raise KeyboardInterrupt
