"""Reads default schemes from TOML and merges new schemes into it."""

import re
import sys

from .. import schemes
from ..errors import RestoreError
from ..schemes import Scheme

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Table = dict[str, dict[str, dict[int, str]]]  # model, case, NFE: the text of a scheme

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def read_table(text: str) -> Table:
    """Parses a file of schemes; empty text has none.

    Raises:
        RestoreError: the text is not a file of schemes.
    """
    try:
        document = tomllib.loads(text)
        return {
            model: {
                case: {int(nfe): _checked(scheme) for nfe, scheme in table.items()} for case, table in cases.items()
            }
            for model, cases in document.items()
        }
    except (tomllib.TOMLDecodeError, AttributeError, TypeError, ValueError) as error:
        reason = str(error) if isinstance(error, (RestoreError, tomllib.TOMLDecodeError)) else "other entries"
        raise RestoreError(f"not a file of schemes ({reason})") from error


def _checked(text: str) -> str:
    schemes.parse(text)
    return text


def merged(text: str, model: str, found: dict[str, dict[int, Scheme]]) -> str:
    """Merges a model's schemes, by case and NFE, into a text.

    Keeps the schemes of other models, cases and NFEs, and the leading comment.
    """
    table = read_table(text)
    cases = table.setdefault(model, {})
    for case, schemes_ in found.items():
        cases.setdefault(case, {}).update({nfe: str(scheme) for nfe, scheme in schemes_.items()})
    blocks = [
        "\n".join([f"[{_key(name)}.{_key(case)}]", *(f'{nfe} = "{lines[nfe]}"' for nfe in sorted(lines))])
        for name, cases in table.items()
        for case, lines in cases.items()
    ]
    return "\n\n".join([*leading_comment(text), *blocks]) + "\n"


def leading_comment(text: str) -> list[str]:
    """The leading comment lines, as one block, or an empty list."""
    lines = text.splitlines()
    end = next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return ["\n".join(lines[:end])] if end else []


def _key(name: str) -> str:
    """A TOML key: bare if possible, else quoted, as file names may contain any character."""
    if _BARE_KEY.fullmatch(name):
        return name
    escaped = "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in name)
    return f'"{escaped}"'
