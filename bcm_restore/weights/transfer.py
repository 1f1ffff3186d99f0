"""Downloads a file over HTTP, resumes interrupted downloads, and detects incomplete ones."""

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
PAUSES = (1.0, 4.0, 10.0)  # seconds before retries without progress
BUSY = (408, 425, 429, 500, 502, 503, 504)  # status codes to retry
BY_HAND = "or download it by hand and 'bcm-restore weights import FILE'"


class Rejected(RestoreError):  # noqa: N818
    """The download is not the expected file, and cannot be resumed."""


class _Interrupted(Exception):  # noqa: N818
    """The download was interrupted; a retry may resume it."""


@dataclasses.dataclass
class _State:
    """The state of a partial download, stored beside the partial file."""

    url: str
    validator: str | None = None  # the server's strong ETag or modification date
    total: int | None = None  # bytes; None: unknown before the end


def fetch(url: str, part: Path, progress: Progress = silent) -> None:
    """Downloads a file, resuming an earlier download if the server supports it.

    Args:
        url: of the file; uses the environment's proxies.
        part: the partial file; kept if the download is interrupted, see `discard`.
        progress: called after each chunk.

    Raises:
        RestoreError: the download failed.
    """
    state = _load(url, part)
    attempt, best = 0, _size(part)
    while state.total is None or _size(part) != state.total:
        try:
            _attempt(state, part, progress)
        except _Interrupted as error:
            attempt = 0 if _size(part) > best else attempt + 1
            best = max(best, _size(part))
            if attempt > len(PAUSES):
                what = "the download was interrupted" if best else "nothing could be downloaded"
                way = "run it again to resume" if best else "check the connection and HTTPS_PROXY"
                raise RestoreError(f"{url}: {what} ({error}); {way}, {BY_HAND}") from error
            time.sleep(PAUSES[max(attempt, 1) - 1])


def discard(part: Path) -> None:
    """Removes a partial file and its state."""
    part.unlink(missing_ok=True)
    _state_path(part).unlink(missing_ok=True)


def is_page(path: Path) -> bool:
    """Whether the file is a web page, as servers send instead of a file."""
    with path.open("rb") as file:
        start = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype", b"<html", b"<?xml"))


def _attempt(state: _State, part: Path, progress: Progress) -> None:
    """Makes one request, from the end of the partial file on.

    Raises:
        _Interrupted: the connection broke.
        RestoreError: the file is not available.
    """
    offset = _size(part)
    try:
        with _open(state, offset) as response:
            _check_answer(state.url, response)
            if response.status == http.HTTPStatus.PARTIAL_CONTENT:
                _check_range(response, state, part)
            else:
                offset = 0
                state.total = int(response.headers["Content-Length"]) if response.headers["Content-Length"] else None
                state.validator = _validator(response)
                _save(state, part)
            _receive(response, state, part, offset, progress)
    except (RestoreError, _Interrupted):
        raise
    except urllib.error.HTTPError as error:
        _explain_status(error, state, part)
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise RestoreError(
                f"{state.url}: its certificate is not trusted ({reason.verify_message}); check the clock, the proxy "
                "and SSL_CERT_FILE"
            ) from error
        raise _Interrupted(str(reason) or type(reason).__name__) from error


def _open(state: _State, offset: int) -> Any:
    request = urllib.request.Request(state.url, headers={"User-Agent": f"bcm-restore/{__version__}"})
    if offset:
        request.add_header("Range", f"bytes={offset}-")
        if state.validator:
            request.add_header("If-Range", state.validator)
    return urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, except from https to http."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if req.type == "https" and not newurl.startswith("https://"):
            raise RestoreError(
                f"{req.full_url}: redirects to {newurl}, which is not https; download it by hand and check it"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_answer(url: str, response: Any) -> None:
    """Rejects responses that are not a file, before the partial file is changed."""
    if response.status not in (http.HTTPStatus.OK, http.HTTPStatus.PARTIAL_CONTENT):
        raise RestoreError(f"{url}: the server answered {response.status} instead of the file; try later, {BY_HAND}")
    if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise RestoreError(f"{url}: the server sent a web page instead of the file; open it in a browser, {BY_HAND}")


def _check_range(response: Any, state: _State, part: Path) -> None:
    """Checks that the response continues this file; otherwise the next attempt starts from scratch."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers["Content-Range"] or "")
    total = None if found is None or found[2] == "*" else int(found[2])
    changed = state.total is not None and total is not None and total != state.total
    if found is None or int(found[1]) != _size(part) or changed or _validator(response) not in (state.validator, None):
        discard(part)
        raise _Interrupted("the file on the server has changed")
    state.total = total if state.total is None else state.total


def _receive(response: Any, state: _State, part: Path, offset: int, progress: Progress) -> None:
    """Writes the response after the first `offset` bytes.

    Raises:
        _Interrupted: the response ended early.
        RestoreError: the file cannot be written.
    """
    done = offset
    with _writable(part, offset) as file:
        while chunk := response.read1(CHUNK):
            _write(file, chunk, part)
            done += len(chunk)
            progress(done, state.total)
    if state.total is None:
        state.total = done  # the server closed the connection without a Content-Length
        _save(state, part)
    if done < state.total:
        raise _Interrupted(f"received {done} of {state.total} bytes")
    if done > state.total:
        discard(part)
        raise _Interrupted(f"received more than {state.total} bytes")


def _explain_status(error: urllib.error.HTTPError, state: _State, part: Path) -> None:
    """Accepts a partial file that is already complete; raises for all other status codes."""
    with error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            if error.headers["Content-Range"] == f"bytes */{_size(part)}":
                state.total = _size(part)
                _save(state, part)
                return
            discard(part)
            raise _Interrupted("the file on the server has changed") from error
        if error.code in BUSY:
            raise _Interrupted(f"the server answered {error.code} {error.reason}") from error
    raise RestoreError(f"{state.url}: the server answered {error.code} {error.reason}; try later, {BY_HAND}") from error


def _validator(response: Any) -> str | None:
    tag = response.headers["ETag"]
    return tag if tag and not tag.startswith("W/") else response.headers["Last-Modified"]


def _writable(part: Path, offset: int) -> Any:
    """Opens the partial file without a buffer, so that a killed process loses nothing."""
    try:
        return part.open("ab" if offset else "wb", buffering=0)
    except OSError as error:
        raise _unwritable(part, error) from error


def _write(file: Any, chunk: bytes, part: Path) -> None:
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise _unwritable(part, error) from error


def _unwritable(part: Path, error: OSError) -> RestoreError:
    reason = (error.strerror or str(error)).lower()
    return RestoreError(f"{part}: {reason}; free some space and run it again to resume, or choose another {HOME}")


def _state_path(part: Path) -> Path:
    return part.with_suffix(".resume")


def _load(url: str, part: Path) -> _State:
    """Loads the state of a partial file; discards the file if it is of another URL."""
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
