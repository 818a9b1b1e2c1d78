"""Puts the HTTP surface together."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline

from adapter.config import Settings
from api import openapi, origins, problems
from api.asking import known_parameters
from api.metrics import Measured, Metrics
from api.middleware import Boundary
from api.protocol import COUNT, LET_GO
from api.routes import (
    console,
    evaluations,
    events,
    exports,
    growth,
    health,
    meta_models,
    metrics,
    models,
    predictions,
    previews,
    versions,
)
from api.services import Services
from meta_models.memory import kept_for_good

ABOUT = """Post a handful of labelled examples, get a model id; post queries to it, get answers.

Every error is `application/problem+json`; `code` is stable and `errors` names each offending example."""


def _name(route: APIRoute) -> str:
    return route.name


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API for these settings, or for those of the environment."""
    settings, measured = settings or Settings(), Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[dict[str, Any]]:
        with kept_for_good():
            app.state.services = made = Services(settings, measured)
            await made.start()
        yield {LET_GO: made.let_go, COUNT: measured.answered}
        await made.stop()

    app = FastAPIOffline(  # its page at /docs loads nothing from elsewhere
        redoc_url=None,
        swagger_ui_parameters={"syntaxHighlight": False},  # colours take seconds of a browser where an answer is long
        title="Innerloop",
        version=version("innerloop"),
        description=ABOUT,
        lifespan=lifespan,
        generate_unique_id_function=_name,
        redirect_slashes=False,  # a redirect would name the host that the client claims, and lose bodies
        dependencies=[Depends(known_parameters)],
    )
    app.add_middleware(Boundary, settings=settings)
    app.add_middleware(Measured, metrics=measured)
    origins.install(app, settings.origins)
    problems.install(app)
    for module in (
        models,
        events,
        growth,
        previews,
        versions,
        predictions,
        evaluations,
        exports,
        meta_models,
        health,
        metrics,
    ):
        app.include_router(module.router)
    console.install(app)
    openapi.describe(app)
    return app
