"""The catalog: patterns mean what is installed, and two files never hold one name."""

from pathlib import Path

import pytest

from tests.support_tasks import TASK, changed, write_task
from unisandbox.catalog import Catalog, Rubrics
from unisandbox.errors import TaskFileError, UsageError
from unisandbox.plugins import Plugins, installed


def catalog(*folders: Path) -> Catalog:
    """Return a catalog of nothing but these folders, with the rubrics that ship."""
    plugins = Plugins(rubric_folders=installed().rubric_folders)
    return Catalog(plugins, folders)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two families: counts (three variants, two tags) and words."""
    counts = changed("family", "counts", changed("tags", ["sums", "quick"]))
    counts["variants"] = {f"count_{n}": {"path": "rows.jsonl"} for n in (10, 2, 1)}
    write_task(tmp_path, counts, name="counts")
    write_task(tmp_path, changed("description", "Words [bold]."), name="words")
    return tmp_path


def names(folder: Path, *patterns: str) -> list[str]:
    return [listing.name for listing in catalog(folder).select(patterns)]


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["count_2"], ["count_2"]),
        (["counts"], ["count_1", "count_2", "count_10"]),
        (["quick"], ["count_1", "count_2", "count_10"]),
        (["count_*"], ["count_1", "count_2", "count_10"]),
        (["count_?"], ["count_1", "count_2"]),
        (["count_[12]"], ["count_1", "count_2"]),
        (["*"], ["count_1", "count_2", "count_10", "words"]),
        (["words", "count_2"], ["words", "count_2"]),
        (["words,count_2"], ["words", "count_2"]),
        ([" words , count_2 ,"], ["words", "count_2"]),
        (["words", "*", "words"], ["words", "count_1", "count_2", "count_10"]),
    ],
)
def test_names_families_tags_and_globs_mean_tasks(
    folder: Path, patterns: list[str], found: list[str]
) -> None:
    assert names(folder, *patterns) == found


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("count_3", "Unknown task, family or pattern 'count_3'. Did you mean 'count_"),
        ("wrods", "Did you mean 'words'? Known: count_1, count_10, count_2, counts, quick, sums, words."),
        ("z*", "Unknown task, family or pattern 'z*'."),
        ("Words", "Did you mean 'words'"),
    ],
)
def test_what_means_nothing_is_an_error_with_the_nearest_name(
    folder: Path, pattern: str, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        names(folder, "words", pattern)
    assert message in str(caught.value)


def test_a_path_means_the_tasks_of_that_file(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = write_task(tmp_path_factory.mktemp("other"), name="mine")
    assert names(folder, str(other)) == ["mine"]
    assert names(folder, str(folder / "counts.yaml")) == ["count_10", "count_2", "count_1"]
    with pytest.raises(TaskFileError, match=r"none.yaml: cannot be read"):
        names(folder, str(folder / "none.yaml"))


def test_two_files_with_one_name_are_an_error_naming_both(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = write_task(tmp_path_factory.mktemp("other"), name="words")
    for attempt in (lambda: catalog(folder, other.parent), lambda: catalog(folder).select([str(other)])):
        with pytest.raises(TaskFileError) as caught:
            attempt()
        assert "Two files hold the task 'words': " in str(caught.value)
        assert str(other) in str(caught.value)
        assert str(folder / "words.yaml") in str(caught.value)


def test_one_folder_by_two_ways_is_no_clash(folder: Path) -> None:
    (folder / "sub").mkdir()
    assert [listing.name for listing in catalog(folder, folder / "sub" / "..")][-1] == "words"


def test_a_broken_file_is_left_out_with_a_warning_unless_it_is_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.yaml").write_text("description: [\n")
    assert names(folder, "words") == ["words"]
    assert "warning: left out: " in (told := capsys.readouterr().err)
    assert "broken.yaml:2:1: not valid YAML" in told
    with pytest.raises(TaskFileError, match=r"broken.yaml:2:1"):
        names(folder, str(folder / "broken.yaml"))


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--include-path .*none: no such folder"):
        catalog(tmp_path / "none")


def test_a_listing_tells_what_a_glance_shows(folder: Path) -> None:
    (listing,) = catalog(folder).select(["count_2"])
    assert (listing.family, listing.tags, listing.modes) == ("counts", ("sums", "quick"), ("direct",))
    assert (listing.description, listing.variant) == ("Count and draw.", "path: rows.jsonl")
    assert (listing.path, listing.plugin) == (folder / "counts.yaml", "--include-path")


def test_an_empty_list_of_variants_is_none(tmp_path: Path) -> None:
    write_task(tmp_path, changed("variants", {}), name="words")
    assert names(tmp_path, "words") == ["words"]


def test_a_listing_becomes_its_task(folder: Path) -> None:
    plugins = Plugins(datasets=installed().datasets, rubric_folders=installed().rubric_folders)
    whole = Catalog(plugins, [folder])
    tasks = [whole.task(listing) for listing in whole]
    assert [task.name for task in tasks] == ["count_1", "count_2", "count_10", "words"]


@pytest.mark.parametrize("name", ["../count", "a/b", "a b", "", "a..b", ".hidden"])
def test_a_task_is_named_as_a_folder_can_be(in_tmp: Path, name: str) -> None:
    write_task(in_tmp, changed("variants", {name: None}, TASK))
    plugins = Plugins(datasets=installed().datasets, rubric_folders=installed().rubric_folders)
    with pytest.raises(TaskFileError, match=r"counting.yaml:\d+: variants.*a task cannot be named"):
        whole = Catalog(plugins, [in_tmp])
        whole.task(next(iter(whole)))


# --- rubrics ---


def test_rubrics_are_read_when_they_are_used(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("description: [\n")
    (tmp_path / "good.yaml").write_text(
        "description: d\nslots: {a: {type: text}}\nobserve: o\nmatch: '{{ observation }} {{ target }}'\n"
    )
    rubrics = Rubrics({tmp_path: "test"})
    assert sorted(rubrics) == ["broken", "good"]
    assert len(rubrics) == 2
    assert "broken" in rubrics
    assert rubrics["good"] is rubrics["good"]
    assert rubrics.path("good") == tmp_path / "good.yaml"
    with pytest.raises(TaskFileError, match=r"broken.yaml:2:1: not valid YAML"):
        _ = rubrics["broken"]
    with pytest.raises(KeyError):
        _ = rubrics["none"]


def test_two_files_with_one_rubric_are_an_error_naming_both(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "name.yaml").write_text("description: d\n")
    with pytest.raises(
        TaskFileError, match=r"Two files hold the rubric 'name': .*a/name.yaml, .*b/name.yaml"
    ):
        Rubrics({tmp_path / "a": "one", tmp_path / "b": "two"})
