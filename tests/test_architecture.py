"""Which parts of the package may import which, and their public names."""

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bcm_restore

ROOT = Path(bcm_restore.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
PACKAGES = sorted(path for path in ROOT.rglob("__init__.py"))
PUBLIC = ("", "batch", "images", "metrics", "networks", "operators", "tasks", "weights")


def name_of(path: Path) -> str:
    """ "bcm_restore.tasks.base"."""
    return ".".join(["bcm_restore", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")


def imported(path: Path, nested: bool = True) -> Iterator[str]:
    """The full names of modules, and of names in them, that a file imports; those for type checkers do not count."""
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in walk(tree, nested):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] + "." if node.level else ""
            module = (base + (node.module or "")).rstrip(".")
            yield from (f"{module}.{alias.name}" for alias in node.names)


def walk(node: ast.AST, nested: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if not nested and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield child
        yield from walk(child, nested)


def files(*parts: str) -> list[Path]:
    """The files of packages and modules of that name."""
    found = [path for part in parts for path in (*(ROOT / part).rglob("*.py"), ROOT / f"{part}.py") if path.exists()]
    assert found, parts
    return found


def offences(paths: list[Path], *forbidden: str, nested: bool = True) -> list[str]:
    """Where one of the files imports what is forbidden, or something inside it."""
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in imported(path, nested)
        if any(name == one or name.startswith(f"{one}.") for one in forbidden)
    ]


def test_relative_imports_are_resolved():
    names = set(imported(ROOT / "tasks" / "jpeg.py"))
    assert {"bcm_restore.errors.NothingToRestore", "torch.Tensor"} <= names
    assert "bcm_restore.tasks.band_task.BandTask" in names


def test_nothing_imports_the_command_line():
    others = [path for path in MODULES if ROOT / "cli" not in path.parents and path.name != "__main__.py"]
    assert not offences(others, "bcm_restore.cli", "typer", "rich")


def test_the_bench_and_tuning_are_independent():
    assert not offences(files("bench"), "bcm_restore.tuning")
    assert not offences(files("tuning"), "bcm_restore.bench")
    assert not offences(files("simulation"), "bcm_restore.tuning", "bcm_restore.bench")


def test_batch_is_light():
    """Files are found and planned before PyTorch is imported, which takes seconds."""
    assert not offences(files("batch"), "torch", "cv2", "kornia", "skimage", nested=False)
    code = "import sys, bcm_restore.batch; print({'torch', 'cv2', 'typer', 'rich'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


def test_networks_are_below_everything_else():
    others = {name.split(".")[1] for path in files("networks") for name in imported(path) if "bcm_restore." in name}
    assert others <= {"networks", "errors", "spans"}


def test_the_core_runs_with_torch_alone():
    """As on machines that only train."""
    core = files("model", "networks", "train", "schemes", "operators")
    assert not offences(core, "kornia", "lpips", "typer", "rich")


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: name_of(path))
def test_packages_hold_re_exports_and_no_logic(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert set(defined) <= {"__getattr__"}


@pytest.mark.parametrize("part", PUBLIC)
def test_public_names_exist_and_are_documented(part):
    package = importlib.import_module(f"bcm_restore.{part}".rstrip("."))
    assert package.__doc__
    for name in package.__all__:
        found = getattr(package, name)
        if inspect.isclass(found) or inspect.isfunction(found):
            assert found.__doc__, name
