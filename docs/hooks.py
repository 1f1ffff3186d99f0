"""Adds the pictures, notebooks and configurations of examples/ to the site: they exist once, outside docs/."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

SUFFIXES = (".ipynb", ".jpg", ".toml")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds each file under the name that it has in the repository."""
    root = Path(config.config_file_path).parent
    for path in sorted((root / "examples").rglob("*")):
        if path.suffix in SUFFIXES:
            files.append(File.generated(config, path.relative_to(root).as_posix(), abs_src_path=str(path)))
    return files
