"""A file over HTTP: resumed where it broke off, and never taken for complete when it is not."""

import dataclasses
import http.client
import json
import re
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import RestoreError
from .cache import HOME, Progress, silent

CHUNK = 1 << 20  # bytes
TIMEOUT = 30.0  # seconds without an answer or a byte
PAUSES = (1.0, 4.0, 10.0)  # seconds before further attempts that bring nothing new
BUSY = (408, 425, 429, 500, 502, 503, 504)  # answers that are worth another attempt
BY_HAND = "or fetch it by hand and 'bcm-restore weights import FILE'"


class Rejected(RestoreError):  # noqa: N818
    """What came is not the file: it is of no use for resuming either."""


class _Broken(Exception):  # noqa: N818
    """The transfer broke off: another attempt may go on."""


@dataclasses.dataclass
class _State:
    """What must be known to go on: it stands beside the partial file."""

    url: str
    validator: str | None = None  # by which the server knows the file: a strong ETag, or a date
    total: int | None = None  # bytes; None: not known before the end


def fetch(url: str, part: Path, progress: Progress = silent) -> None:
    """Completes the partial file, from where an earlier call broke off if the server lets it.

    Args:
        url: of the file; proxies are those of the environment.
        part: the partial file, which stays when the transfer breaks; `discard` takes it away.
        progress: told of each piece.

    Raises:
        RestoreError: it can't be fetched.
    """
    state = _load(url, part)
    attempt, best = 0, _size(part)
    while state.total is None or _size(part) != state.total:
        try:
            _attempt(state, part, progress)
        except _Broken as error:
            attempt = 0 if _size(part) > best else attempt + 1
            best = max(best, _size(part))
            if attempt > len(PAUSES):
                way = "what came is kept, run it again to go on" if best else "check the connection and HTTPS_PROXY"
                raise RestoreError(f"{url}: the transfer broke off ({error}); {way}, {BY_HAND}") from error
            time.sleep(PAUSES[max(attempt, 1) - 1])


def discard(part: Path) -> None:
    """Takes the partial file away, and what was known of it."""
    part.unlink(missing_ok=True)
    _state_path(part).unlink(missing_ok=True)


def is_page(path: Path) -> bool:
    """Whether the file is a web page that says something instead of the file."""
    with path.open("rb") as file:
        start = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype", b"<html", b"<?xml"))


def _attempt(state: _State, part: Path, progress: Progress) -> None:
    """One request, from the end of the partial file on.

    Raises:
        _Broken: the connection did not hold.
        RestoreError: there is nothing to be had.
    """
    have = _size(part)
    try:
        with _open(state, have) as response:
            _check_answer(state.url, response)
            if response.status == http.HTTPStatus.PARTIAL_CONTENT:
                _check_range(response, state, part)
            else:
                have = 0
                state.total = int(response.headers["Content-Length"]) if response.headers["Content-Length"] else None
                state.validator = _validator(response)
                _save(state, part)
            _receive(response, state, part, have, progress)
    except (RestoreError, _Broken):
        raise
    except urllib.error.HTTPError as error:
        _explain_status(error, state, part)
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            way = "check the clock, the proxy and SSL_CERT_FILE"
            raise RestoreError(
                f"{state.url}: its certificate is not trusted ({reason.verify_message}); {way}"
            ) from error
        raise _Broken(str(reason) or type(reason).__name__) from error


def _open(state: _State, have: int) -> Any:
    request = urllib.request.Request(state.url, headers={"User-Agent": f"bcm-restore/{__version__}"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        if state.validator:
            request.add_header("If-Range", state.validator)
    return urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirections, but never from https to where anybody on the way can change the file."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if req.type == "https" and not newurl.startswith("https://"):
            raise RestoreError(f"{req.full_url}: leads to {newurl}, which is not https; fetch it by hand and check it")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_answer(url: str, response: Any) -> None:
    """Refuses everything that is not a file, before the partial one is touched."""
    if response.status not in (http.HTTPStatus.OK, http.HTTPStatus.PARTIAL_CONTENT):
        raise RestoreError(f"{url}: the server answered {response.status} instead of the file; try later, {BY_HAND}")
    if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise RestoreError(
            f"{url}: the server answered a web page instead of the file; open it in a browser, {BY_HAND}"
        )


def _check_range(response: Any, state: _State, part: Path) -> None:
    """Whether the rest that the server sends is the rest of this file; if not, the next attempt begins anew."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers["Content-Range"] or "")
    total = None if found is None or found[2] == "*" else int(found[2])
    changed = state.total is not None and total is not None and total != state.total
    if found is None or int(found[1]) != _size(part) or changed or _validator(response) not in (state.validator, None):
        discard(part)
        raise _Broken("the file on the server has changed")
    state.total = total if state.total is None else state.total


def _receive(response: Any, state: _State, part: Path, have: int, progress: Progress) -> None:
    """Writes the answer behind the first `have` bytes.

    Raises:
        _Broken: it ended early.
        RestoreError: the disk does not take it.
    """
    with _writable(part, have) as file:
        while piece := response.read1(CHUNK):
            _write(file, piece, part)
            have += len(piece)
            progress(have, state.total)
    if state.total is None:
        state.total = have  # the server closed the connection and had not said how much there is
        _save(state, part)
    if have < state.total:
        raise _Broken(f"{have} of {state.total} bytes came")
    if have > state.total:
        discard(part)
        raise _Broken(f"more than {state.total} bytes came")


def _explain_status(error: urllib.error.HTTPError, state: _State, part: Path) -> None:
    """Takes a partial file for complete that is, and raises for all other answers."""
    with error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            if error.headers["Content-Range"] == f"bytes */{_size(part)}":
                state.total = _size(part)
                _save(state, part)
                return
            discard(part)
            raise _Broken("the file on the server has changed") from error
        if error.code in BUSY:
            raise _Broken(f"the server answered {error.code} {error.reason}") from error
    raise RestoreError(f"{state.url}: the server answered {error.code} {error.reason}; try later, {BY_HAND}") from error


def _validator(response: Any) -> str | None:
    tag = response.headers["ETag"]
    return tag if tag and not tag.startswith("W/") else response.headers["Last-Modified"]


def _writable(part: Path, have: int) -> Any:
    """The partial file, opened to write without a buffer: what was written is there, however the process ends."""
    try:
        return part.open("ab" if have else "wb", buffering=0)
    except OSError as error:
        raise _unwritable(part, error) from error


def _write(file: Any, piece: bytes, part: Path) -> None:
    rest = memoryview(piece)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise _unwritable(part, error) from error


def _unwritable(part: Path, error: OSError) -> RestoreError:
    reason = (error.strerror or str(error)).lower()
    return RestoreError(f"{part}: {reason}; free some space and run it again to go on, or choose another {HOME}")


def _state_path(part: Path) -> Path:
    return part.with_suffix(".resume")


def _load(url: str, part: Path) -> _State:
    """What is known of the partial file; nothing, and the file is gone, where it is of another URL."""
    try:
        state = _State(**json.loads(_state_path(part).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        state = _State("")
    if state.url == url and part.exists():
        return state
    discard(part)
    return _State(url)


def _save(state: _State, part: Path) -> None:
    try:
        _state_path(part).write_text(json.dumps(dataclasses.asdict(state)), encoding="utf-8")
    except OSError as error:
        raise _unwritable(_state_path(part), error) from error


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
