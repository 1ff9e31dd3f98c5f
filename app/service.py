"""The Flask application. Handlers parse, call and map; they decide nothing.

    GET /healthz    200 while the process answers; touches nothing else
    GET /readyz     200 while a primary answers that by its own word takes writes, else 503; both JSON with a `code`.
                    Nothing is written: a commit that would wait for ever is not seen here

It must never need a restart when the database fails over, and never show a secret.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from flask import Flask, Response, jsonify

from app import __version__
from app.config import Config
from app.database import Database
from app.errors import AppError
from app.secret import SecretsManager

if TYPE_CHECKING:
    from werkzeug.exceptions import HTTPException

logger = logging.getLogger("pgmend.app")


def create_app(config: Config | None = None, database: Database | None = None) -> Flask:
    """The application; gunicorn calls it without arguments."""
    settings = config or Config.load()
    primary = database or Database(settings, SecretsManager(settings))
    app = Flask("pgmend")

    @app.get("/healthz")
    def healthz() -> tuple[Response, int]:
        return jsonify(code="ok", version=__version__, region=settings.region), 200

    @app.get("/readyz")
    def readyz() -> tuple[Response, int]:
        began = time.monotonic()
        try:
            way = primary.writable()
        except AppError as error:
            logger.warning("not ready: %s", error)
            return jsonify(code=error.code, message=str(error), region=settings.region), 503
        return jsonify(
            code="ok",
            region=settings.region,
            through=f"{way.host}:{way.port}",
            took_ms=round((time.monotonic() - began) * 1000, 1),
        ), 200

    @app.errorhandler(404)
    @app.errorhandler(405)
    def refused(error: HTTPException) -> tuple[Response, int]:
        status = error.code or 404
        return jsonify(code="not-found" if status == 404 else "method-not-allowed"), status

    return app
