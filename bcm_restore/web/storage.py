"""Files of the page: each session has its own folder, and nothing is kept after it."""

import contextlib
import dataclasses
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from ..errors import RestoreError
from .inpainting import Canvas

UNCLAIMED = 600.0  # seconds for which uploads are kept that no session has claimed, such as pictures of strokes


@dataclasses.dataclass
class Session:
    """What the server keeps for an open page.

    Attributes:
        folder: of its results.
        uploads: files that it has uploaded and still uses.
        canvas: the picture that is open for inpainting.
        stop: set to end the restoration that is running.
    """

    folder: Path
    uploads: set[Path] = dataclasses.field(default_factory=set)
    canvas: Canvas | None = None
    stop: threading.Event = dataclasses.field(default_factory=threading.Event)

    def begin(self) -> threading.Event:
        """The `stop` of a new restoration."""
        self.stop = threading.Event()  # an earlier restoration that is still ending keeps its own
        return self.stop

    def new_folder(self) -> Path:
        """An empty folder for results."""
        return Path(tempfile.mkdtemp(dir=self.folder))


class Storage:
    """The temporary folder of a server.

    Attributes:
        root: the folder; uploads are in it, and nothing outside it is served.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bcm-restore-web-", ignore_cleanup_errors=True)
        self.root = Path(self._folder.name).resolve()
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def session(self, name: str) -> Session:
        """The session of an open page, by the name that its browser has given it."""
        with self._lock:
            if name not in self._sessions:
                # a folder that cannot be guessed: files are served to whoever knows their path
                folder = self.root / "sessions" / secrets.token_urlsafe(16)
                folder.mkdir(parents=True)
                self._sessions[name] = Session(folder)
            return self._sessions[name]

    def claim(self, session: Session, paths: Iterable[str | Path]) -> list[Path]:
        """Uploaded files, which are kept as long as the session.

        Raises:
            RestoreError: a path is not one of an uploaded file.
        """
        found = [Path(path).resolve() for path in paths]
        for path in found:
            if not path.is_relative_to(self.root) or not path.is_file():
                raise RestoreError(f"{path.name}: is not here any more; upload it again")
        with self._lock:
            session.uploads.update(found)
            self._delete_uploads()
        return found

    def end(self, name: str) -> None:
        """Ends a session: its restoration is stopped, and its files are deleted."""
        with self._lock:
            if session := self._sessions.pop(name, None):
                session.stop.set()
                shutil.rmtree(session.folder, ignore_errors=True)
                self._delete_uploads(session.uploads)

    def close(self) -> None:
        """Ends all sessions, and deletes all files."""
        for name in list(self._sessions):
            self.end(name)
        self._folder.cleanup()

    def _delete_uploads(self, left: Iterable[Path] = ()) -> None:
        """Deletes uploads that no session has claimed: those in `left`, old ones, and all if there is no session."""
        claimed = set().union(*(session.uploads for session in self._sessions.values()))
        oldest = time.time() - UNCLAIMED if self._sessions else float("inf")
        for path in self.root.glob("*/*"):
            if path.is_file() and path not in claimed and (path in left or path.stat().st_mtime < oldest):
                path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # it has other files
                    path.parent.rmdir()
