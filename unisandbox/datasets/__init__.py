"""Where samples come from: verified generators and files, registered as any plugin's would be.

A source is a function ``(**options) -> list[dict]``; every row has a unique ``id``, and its other columns
are the variables of task templates.
"""

from unisandbox.hookspecs import RegisterDataset, hookimpl


@hookimpl
def register_datasets(register: RegisterDataset) -> None:
    """Register the sources."""
    for name, module, summary in (
        ("arithmetic", "arithmetic", "expressions of one to three operations that come to a number to draw"),
        ("characters", "characters", "invented people: questions about them, and text that teaches them"),
        ("hub", "files", "rows of a dataset on the Hugging Face hub, or of its local files"),
        ("jsonl", "files", "your own rows, one JSON object a line"),
        ("mapping", "mapping", "chains of symbols that end in objects, asked both ways round"),
        ("published", "published", "the test files of arXiv 2511.20561, from a folder of yours"),
    ):
        register(name, f"unisandbox.datasets.{module}:{name}", summary=summary)
