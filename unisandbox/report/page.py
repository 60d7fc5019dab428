"""The HTML report: one page that needs no network, with nothing in it that could run but its own script.

What models, judges and task files say is untrusted. Jinja escapes it, the samples travel as JSON in a block
that is no script, the page's script writes texts only, and the page's policy names its script and style by
their digests, so that nothing else would run even if it got in.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from unisandbox.attribution import CAUSES
from unisandbox.errors import RunFolderError, UsageError
from unisandbox.files import whole
from unisandbox.modes import MODES
from unisandbox.report import agreement, causes, charts, contrasts, table
from unisandbox.report.data import Report, Shown, read_report
from unisandbox.run_log import IMAGES, REPORT

WEB = Path(__file__).parent / "web"
MIME = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
SECTIONS = {
    "options": "what was asked for",
    "backends": "models, as they describe themselves",
    "judges": "judges, as they describe themselves",
    "matrix": "matrix and fingerprints",
    "versions": "versions",
}
"""Of ``run.json``, with headings."""


def write_report(folders: Sequence[Path], path: Path | None = None, *, embed: bool = False) -> Path:
    """Write the page about one run, or several side by side; return where it is.

    Pictures are linked where they lie, or, with ``embed``, put into the page. Raises RunFolderError when a
    folder is no run or the page cannot be written, UsageError for a name that is not of a page.
    """
    path = path or folders[0] / REPORT
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"-o {path}: the page is HTML. Name a file that ends in .html.")
    report = read_report(folders)
    bases = [_link(run.folder / IMAGES, path.parent) for run in report.runs]
    text = report_page(report, bases, pictures=dict(_embedded(report)) if embed else {})
    try:
        with whole(path) as beside:
            beside.write_text(text, encoding="utf-8", errors="replace")  # half a character
    except OSError as error:
        raise RunFolderError(
            f"{path} cannot be written: {error.strerror or error}. Name another file: -o FILE."
        ) from None
    return path


def report_page(
    report: Report,
    bases: Sequence[str],
    *,
    pictures: Mapping[str, str] | None = None,
    links: Mapping[str, str] | None = None,
) -> str:
    """Return the page. ``bases``: where the pictures of each run lie; ``links``: more for its head."""
    several = len(report.runs) > 1
    rows = [row for run in report.runs for row in charts.gap(run.results, run.name if several else "")]
    bars = [bar for run in report.runs for bar in charts.bars(run.attribution, run.name if several else "")]
    return render(
        "report.html.jinja",
        styles=("base.css", "report.css"),
        scripts=("base.js", "report.js"),
        report=report,
        links=links or {},
        gap=list(zip(charts.titles(rows), rows, strict=True)),
        gap_modes=charts.GAP_MODES,
        bars=list(zip(charts.titles(bars), bars, strict=True)),
        cause_names=CAUSES,
        modes=MODES,
        table=table,
        causes=causes,
        contrasts=contrasts,
        agreement=agreement,
        settings=_settings,
        data=_data(report, bases, pictures or {}),
    )


def render(
    template: str, *, styles: Sequence[str], scripts: Sequence[str], connect: bool = False, **given: Any
) -> str:
    """Fill in a page template with its style, its script and a policy that allows nothing else.

    ``connect``: whether its script may talk to the server that it came from.
    """
    style, script = _joined(styles), _joined(scripts)
    talks = "'self'" if connect else "'none'"
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        f"img-src 'self' file: data:; connect-src {talks}; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        _environment()
        .get_template(template)
        .render(style=Markup(style), script=Markup(script), policy=policy, **given)
    )


@cache
def _environment() -> Environment:
    loader = PackageLoader("unisandbox.report", "web")
    return Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)


def _joined(names: Sequence[str]) -> str:
    return "\n" + "\n".join((WEB / name).read_text(encoding="utf-8") for name in names)


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _data(report: Report, bases: Sequence[str], pictures: Mapping[str, str]) -> Markup:
    """Return the samples, and where their pictures are."""
    data = {
        "runs": [{"name": run.name, "base": base} for run, base in zip(report.runs, bases, strict=True)],
        "modes": list(MODES),
        "items": report.items,
        "pictures": pictures,
    }
    return block(data)


def block(value: Any) -> Markup:
    """Return JSON that cannot end the block of the page that it stands in."""
    text = orjson.dumps(value, default=_lean, option=orjson.OPT_PASSTHROUGH_DATACLASS).decode()
    return Markup(text.replace("<", "\\u003c"))


def _lean(one: Any) -> dict[str, Any]:
    """Return the fields that say something."""
    return {name: value for name in one.__slots__ if (value := getattr(one, name))}


def _embedded(report: Report) -> Iterator[tuple[str, str]]:
    """Yield every picture that is there as a data URL."""
    for item in report.items:
        for answer in item.answers:
            if answer.image and not answer.gone:
                path = report.runs[answer.run].folder / IMAGES / answer.image
                kind = MIME.get(path.suffix.lower(), "application/octet-stream")
                yield answer.image, f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _link(folder: Path, start: Path) -> str:
    return quote(Path(os.path.relpath(folder, start)).as_posix()) + "/"


def _settings(run: Shown) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield the sections of what a run was made with, each with rows of name and value."""
    about = run.about
    machine = {name: about[name] for name in ("started", "platform", "processors") if name in about}
    yield "run", [("folder", run.name), *_flat(machine)]
    for name, heading in SECTIONS.items():
        if rows := list(_flat(about.get(name, {}))):
            yield heading, rows


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the leaves of nested mappings by their path."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        if value:
            yield path, ", ".join(map(str, value))
    elif value is not None and value != "":
        yield path, str(value)
