"""The viewer's pages. For this machine only: every request must name it, and only its own pages may write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from unisandbox.catalog import Rubrics
from unisandbox.errors import UnisandboxError
from unisandbox.labels import CHOICES, Question, add_label, export, questions, read_labels, standings
from unisandbox.plugins import installed
from unisandbox.report.data import read_report
from unisandbox.report.page import MIME, block, render, report_page
from unisandbox.rubric import say
from unisandbox.run_log import GENERATIONS, IMAGES, VERDICTS
from unisandbox.view.progress import Runs

HOSTS = ("127.0.0.1", "localhost")
"""What a browser may call this server: a name that an attacker points here is none of them."""
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def make_app(root: Path) -> Starlette:
    """Return the server of the runs in a folder, or of one run."""
    viewer = _Viewer(Runs(root))
    return Starlette(
        routes=[
            Route("/", viewer.list_runs),
            Route("/runs.json", viewer.progress),
            Route("/run/{name}/", viewer.report),
            Route("/run/{name}/images/{file}", viewer.image),
            Route("/compare", viewer.compare),
            Route("/label/{name}/", viewer.label),
            Route("/label/{name}/labels", viewer.save, methods=["POST"]),
            Route("/label/{name}/export", viewer.export, methods=["POST"]),
            Route("/label/{name}/agreement", viewer.agreement),
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS), www_redirect=False),
            Middleware(BaseHTTPMiddleware, dispatch=_guarded),
        ],
        exception_handlers={UnisandboxError: _as_text},
    )


async def _guarded(request: Request, follow: RequestResponseEndpoint) -> Response:
    """Let only the viewer's own pages write, and add the headers of every answer."""
    origin = request.headers.get("origin")
    if request.method == "POST" and (
        origin not in (None, f"http://{request.headers['host']}")
        or request.headers.get("content-type") != "application/json"
    ):
        return PlainTextResponse("Only the viewer's own pages may write.", 403)
    response = await follow(request)
    response.headers.update(HEADERS)
    return response


def _as_text(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"error: {error}", 400)


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")


class _Viewer:
    """The answers to requests. Those that read logs are no coroutines: Starlette gives each a thread."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._questions: dict[Path, tuple[tuple[int, ...], dict[str, Question]]] = {}

    def _folder(self, name: str) -> Path:
        """Return the folder of a run by its name; only what is listed can be asked for."""
        folder = self._runs.folders().get(name)
        if folder is None:
            raise HTTPException(404, f"There is no run {name!r} in {self._runs.root}.")
        return folder

    def _asked(self, folder: Path) -> dict[str, Question]:
        """Return what there is to label, read again only when a log has grown."""
        logs = [folder / name for name in (GENERATIONS, VERDICTS)]
        sizes = tuple(path.stat().st_size for path in logs if path.exists())
        if folder not in self._questions or self._questions[folder][0] != sizes:
            self._questions[folder] = sizes, {one.id: one for one in questions(folder)}
        return self._questions[folder][1]

    def list_runs(self, request: Request) -> Response:
        """All runs, with a bar for those that go on."""
        return HTMLResponse(
            render(
                "runs.html.jinja",
                styles=("base.css", "view.css"),
                scripts=("base.js", "runs.js"),
                connect=True,
                root=self._runs.root,
                data=block([asdict(one) for one in self._runs.progress()]),
            )
        )

    def progress(self, request: Request) -> Response:
        """How far every run is, for the page that asks again and again."""
        return _json([asdict(one) for one in self._runs.progress()])

    def report(self, request: Request) -> Response:
        """The report of a run as it stands."""
        name = request.path_params["name"]
        links = {"All runs": "/", "Label": f"/label/{quote(name)}/"}
        return HTMLResponse(report_page(read_report([self._folder(name)]), ["images/"], links=links))

    def compare(self, request: Request) -> Response:
        """Runs side by side, what changed first."""
        names = request.query_params.getlist("run")
        if len(names) < 2:
            raise HTTPException(400, "Which runs? /compare?run=ONE&run=OTHER")
        report = read_report([self._folder(name) for name in names])
        return HTMLResponse(
            report_page(report, [f"/run/{quote(name)}/images/" for name in names], links={"All runs": "/"})
        )

    def image(self, request: Request) -> Response:
        """A picture of a run."""
        path = self._folder(request.path_params["name"]) / IMAGES / request.path_params["file"]
        if path.suffix.lower() not in MIME or not path.is_file():
            raise HTTPException(404, "There is no such picture.")
        return FileResponse(path, media_type=MIME[path.suffix.lower()])

    def label(self, request: Request) -> Response:
        """The page on which a person labels, blind to mode and verdict."""
        name = request.path_params["name"]
        folder = self._folder(name)
        asked = [
            {"id": one.id, "image": one.image, "rubric": one.rubric, "target": say(one.target)}
            for one in self._asked(folder).values()
        ]
        data = {
            "images": f"/run/{quote(name)}/images/",
            "questions": asked,
            "rubrics": {rubric: _rules(rubric) for rubric in {str(one["rubric"]) for one in asked}},
            "labels": read_labels(folder),
            "choices": CHOICES,
        }
        return HTMLResponse(
            render(
                "label.html.jinja",
                styles=("base.css", "view.css"),
                scripts=("base.js", "label.js"),
                connect=True,
                name=name,
                data=block(data),
            )
        )

    async def save(self, request: Request) -> Response:
        """Keep one label."""
        folder = self._folder(request.path_params["name"])
        given = await _object(request)
        question = self._asked(folder).get(str(given.get("id")))
        if question is None:
            raise HTTPException(404, "There is no such picture to label in this run any more.")
        add_label(folder, question, str(given.get("label")))
        return _json({"kept": True})

    def export(self, request: Request) -> Response:
        """Write the labels where ``calibrate --labels`` reads them."""
        path = export(self._folder(request.path_params["name"]))
        return _json({"images": str(path.parent / IMAGES), "labels": str(path)})

    def agreement(self, request: Request) -> Response:
        """How every judge stands to the labels."""
        return _json(
            [
                {"judge": one.judge, "n": one.n, "agreed": asdict(one.agreed), "kappa": asdict(one.kappa)}
                for one in standings(self._folder(request.path_params["name"]))
            ]
        )


async def _object(request: Request) -> Mapping[str, Any]:
    try:
        value = orjson.loads(await request.body())
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise HTTPException(400, "Expected a JSON object.")
    return value


@cache
def _rules(rubric: str) -> list[str]:
    """Return what a picture must show and what makes it none, as far as the rubric is at hand."""
    try:
        spec = Rubrics(installed().rubric_folders)[rubric].spec
    except (UnisandboxError, KeyError):
        return []
    return [spec.description, *(f"no, if: {rule}" for rule in spec.reject)]
