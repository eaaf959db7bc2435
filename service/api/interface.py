"""All routes for programs, joined to the application."""

from fastapi import FastAPI

from service.api import cases, docs, predict, results
from service.api.limits import RequestLimits
from service.api.routing import let_programs_in

ROUTERS = (predict.router, cases.uploads, cases.router, results.models, results.reads, docs.router)


def add_interface(app: FastAPI, limits: RequestLimits | None = None) -> None:
    """Add the routes for programs to the application of a server."""
    let_programs_in(app, limits or RequestLimits())
    for router in ROUTERS:
        app.include_router(router)
