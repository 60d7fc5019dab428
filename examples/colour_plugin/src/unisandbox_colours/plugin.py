"""What the plugin adds to UniSandbox. Light: factories are imported when a run names them."""

from pathlib import Path

from unisandbox import hookimpl
from unisandbox.hookspecs import RegisterDataset, RegisterFolder, RegisterJudge, RegisterModel

HERE = Path(__file__).parent


@hookimpl
def register_tasks(register: RegisterFolder) -> None:
    """Register the task files."""
    register(HERE / "tasks")


@hookimpl
def register_rubrics(register: RegisterFolder) -> None:
    """Register the rubrics."""
    register(HERE / "rubrics")


@hookimpl
def register_datasets(register: RegisterDataset) -> None:
    """Register the dataset source."""
    register("colour_mixing", "unisandbox_colours.mixing:colour_mixing", summary="two paints, one colour")


@hookimpl
def register_models(register: RegisterModel) -> None:
    """Register the model."""
    register(
        "painter",
        "unisandbox_colours.painter:Painter",
        summary="fills a square with the colour it thinks of",
        does=("image", "text"),
    )


@hookimpl
def register_judges(register: RegisterJudge) -> None:
    """Register the judge, as the one for `painter`'s plain squares."""
    register(
        "colour",
        "unisandbox_colours.colour_judge:ColourJudge",
        summary="names the one colour of a picture",
        reads=("any",),
        default_for=("any",),
    )
