"""Default schemes as TOML: reading such a file's text and putting new schemes into it."""

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
    """The schemes in the text of such a file; none in an empty one.

    Raises:
        RestoreError: it is anything else.
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
        raise RestoreError(f"it is not a file of schemes ({reason})") from error


def _checked(text: str) -> str:
    schemes.parse(text)
    return text


def merged(text: str, model: str, found: dict[str, dict[int, Scheme]]) -> str:
    """The text with the schemes that were found for a model: case, then NFE.

    Schemes of other models, cases and NFEs stay as they are, and so does the comment at the beginning.
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
    """The comment lines at the beginning, as one block; none where there are none."""
    lines = text.splitlines()
    end = next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return ["\n".join(lines[:end])] if end else []


def _key(name: str) -> str:
    """A key of TOML: bare where it can be, else quoted; names of files may hold anything."""
    if _BARE_KEY.fullmatch(name):
        return name
    escaped = "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in name)
    return f'"{escaped}"'
