"""Which files are inputs, and the names of outputs; no picture is restored here."""

from pathlib import Path

import pytest

from bcm_restore.batch import inputs, planning
from bcm_restore.batch.planning import Naming
from bcm_restore.batch.settings import Settings
from bcm_restore.errors import RestoreError

FILLED = Naming("_inpainted", "_inpainted", "inpaint")
LARGER = Naming("_x4", "_x[2348]", "super-resolve")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(*names: str) -> None:
        for name in names:
            path = Path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")

    return make


def found(*arguments: str, recursive: bool = False, naming: Naming = FILLED, apart: tuple[str, ...] = ()) -> list[str]:
    found = inputs.expand(arguments, recursive, naming.earlier, map(Path, apart))
    return [str(source.path) for source in found.sources]


def targets(*arguments: str, naming: Naming = FILLED, **options) -> list[str]:
    asked = Settings(**options)
    sources = inputs.expand(arguments, asked.recursive, naming.earlier)
    return [str(job.target) for job in planning.plan_jobs(sources, naming, asked)]


def test_files_folders_and_patterns(here):
    here("a.png", "b.JPG", "notes.txt", "dir/c.webp", "dir/notes.txt", "dir/deep/d.tif", "dir/.hidden.png")
    assert found("a.png", "dir") == ["a.png", "dir/c.webp"]
    assert found("dir", recursive=True) == ["dir/c.webp", "dir/deep/d.tif"]
    assert found("*") == ["a.png", "b.JPG"]
    assert found("[ab].*") == ["a.png", "b.JPG"]
    assert found("**/*.*") == ["a.png", "b.JPG", "dir/c.webp", "dir/deep/d.tif"]
    assert found("a.png", "./a.png", "*.png") == ["a.png"]


def test_an_empty_name_is_not_the_current_folder(here):
    here("a.png")
    with pytest.raises(RestoreError, match="an empty name"):
        found("")
    with pytest.raises(RestoreError, match="an empty name"):
        targets("a.png", output="")
    with pytest.raises(RestoreError, match="an empty name"):
        targets(".", output="")
    assert found(".") == ["a.png"]


def test_a_file_with_the_characters_of_a_pattern_is_that_file(here):
    here("[a].png", "a.png")
    assert found("[a].png") == ["[a].png"]


def test_outputs_of_earlier_runs_are_not_inputs(here):
    here("dir/a.jpg", "dir/a_inpainted.png", "dir/a_inpainted_compare.png", "dir/b_inpainted.png", "dir/a_x4.png")
    here("dir/trip/c.png", "dir/trip_inpainted/c.png", "dir/lone_inpainted/d.png")
    expected = ["dir/a.jpg", "dir/a_x4.png", "dir/b_inpainted.png", "dir/lone_inpainted/d.png", "dir/trip/c.png"]
    assert found("dir", recursive=True) == expected
    assert found("dir/*") == expected[:3]
    assert "dir/a_x4.png" not in found("dir", naming=LARGER)


def test_masks_and_the_output_folder_are_not_inputs(here):
    here("dir/a.png", "dir/m.png", "dir/masks/a.png", "dir/out/a.png")
    assert found("dir", recursive=True, apart=("dir/m.png", "dir/masks", "dir/out")) == ["dir/a.png"]
    assert found("dir/*.png", apart=("dir/m.png",)) == ["dir/a.png"]


def test_links_to_folders_are_not_followed(here):
    here("dir/a.png")
    Path("dir/loop").symlink_to(Path("dir").resolve())
    assert found("dir", recursive=True) == ["dir/a.png"]


def test_outputs_beside_inputs(here):
    here("a.jpg", "dir/b.png", "dir/deep/c.tif")
    assert targets("a.jpg") == ["a_inpainted.png"]
    assert targets("a.jpg", format="webp") == ["a_inpainted.webp"]
    assert targets("a.jpg", naming=LARGER) == ["a_x4.png"]
    assert targets("dir") == ["dir_inpainted/b.png"]
    assert targets("dir", recursive=True) == ["dir_inpainted/b.png", "dir_inpainted/deep/c.png"]
    assert targets("dir/b.png", "a.jpg") == ["dir/b_inpainted.png", "a_inpainted.png"]


def test_folder_of_the_working_directory(here, tmp_path, monkeypatch):
    here("dir/b.png")
    monkeypatch.chdir("dir")
    assert targets(".") == [str(tmp_path / "dir_inpainted" / "b.png")]
    assert targets("../dir") == ["../dir_inpainted/b.png"]


def test_named_outputs(here):
    here("a.jpg", "b.png", "dir/b.png")
    Path("there").mkdir()
    assert targets("a.jpg", output="out.webp") == ["out.webp"]
    assert targets("a.jpg", output="out.jpeg", format="jpg") == ["out.jpeg"]
    assert targets("a.jpg", output="there") == ["there/a_inpainted.png"]
    assert targets("a.jpg", output="new/") == ["new/a_inpainted.png"]
    assert targets("a.jpg", "b.png", output="new") == ["new/a_inpainted.png", "new/b_inpainted.png"]
    assert targets("dir", output="new") == ["new/b.png"]


def test_inputs_of_one_stem_have_different_outputs(here):
    here("dir/a.jpg", "dir/a.png", "dir/b.png")
    assert targets("dir") == ["dir_inpainted/a.jpg.png", "dir_inpainted/a.png.png", "dir_inpainted/b.png"]
    assert targets("dir/a.jpg", "dir/a.png") == ["dir/a.jpg_inpainted.png", "dir/a.png_inpainted.png"]


def test_outputs_that_would_be_one_file_are_refused(here):
    here("one/a.png", "two/a.png")
    with pytest.raises(RestoreError, match=r"one/a\.png and two/a\.png would both become out/a\.png\.png"):
        targets("one", "two", output="out")


def test_existing_outputs_are_counted(here):
    here("dir/a.png", "dir/b.png", "dir/c.png", "dir_inpainted/a.png", "dir_inpainted/c.png")
    with pytest.raises(RestoreError, match=r"dir_inpainted/a\.png \(and 1 more\) exist.*--overwrite.*--resume"):
        planning.plan(["dir"], FILLED, Settings())
    for allowed in (Settings(resume=True), Settings(overwrite=True), Settings(dry_run=True)):
        assert len(planning.plan(["dir"], FILLED, allowed).jobs) == 3


def test_a_link_to_an_input_counts_as_the_input(here):
    here("a.png")
    Path("b.png").symlink_to("a.png")
    with pytest.raises(RestoreError, match="is an input"):
        targets("a.png", output="b.png")
