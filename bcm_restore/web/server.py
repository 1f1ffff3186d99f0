"""Serves the page: from this computer alone unless asked otherwise, and nothing but the page and its own files."""

import gc
import hmac
import os
import socket
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RestoreError
from ..packages import required
from .forms import Form, Options
from .loading import App, Loading, Message, Receive, Send

if TYPE_CHECKING:
    from .storage import Storage

WAY = 'pip install ".[web]"'
MOST = 512 * 2**20  # bytes of an uploaded file
LOCAL = ("127.0.0.1", "localhost", "::1")

# What the page asks for; gradio has more routes, which are not needed.
EXACT = {"/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/login", "/logout"}
BELOW = ("/assets/", "/static/", "/svelte/")
API = {
    "upload", "upload_progress", "queue/join", "queue/data", "component_server", "cancel", "app_id", "info",
    "login_check", "user", "token", "startup-events", "theme.css", "reset",
}  # fmt: skip
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "frame-ancestors 'self'"
)


@dataclass(frozen=True)
class Address:
    """Where the page is served.

    Attributes:
        host: the name or address of an interface.
        port: 0: a free one.
        password: that the page asks for; None: none.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    password: str | None = None


class Guard:
    """Lets only those requests pass that the page makes; files are only served from one folder.

    Args:
        app: the application.
        root: the folder.
        hosts: names under which the server may be addressed; None: any. Against pages of other sites whose name is
            made to point to this computer; requests that other sites' pages send here are refused in any case.
    """

    def __init__(self, app: App, root: Path, hosts: Sequence[str] | None) -> None:
        self._app, self._root, self._hosts = app, root, hosts

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers a request, as ASGI demands."""
        if scope["type"] == "http" and not self._allowed(scope):
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"not found"})
            return

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer")]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        await self._app(scope, receive, send_with_policy)

    def _allowed(self, scope: Message) -> bool:
        headers = dict(scope["headers"])
        name = urllib.parse.urlsplit("//" + headers.get(b"host", b"").decode("latin-1")).hostname
        if self._hosts is not None and name not in self._hosts:
            return False
        origin = urllib.parse.urlsplit(headers.get(b"origin", b"").decode("latin-1"))
        if origin.netloc and origin.hostname != name:
            return False
        path: str = scope["path"]
        if path in EXACT or path.startswith(BELOW):
            return ".." not in path
        kind, _, rest = path.removeprefix("/gradio_api/").partition("=")
        if not path.startswith("/gradio_api/"):
            return False
        if kind == "file":
            return Path(rest).is_absolute() and Path(rest).resolve().is_relative_to(self._root)
        return kind.rstrip("/") in API or kind.startswith("heartbeat/")


def serve(address: Address, options: Options, forms: Sequence[Form], announce: Callable[[str], None]) -> None:
    """Serves the page until the process is interrupted; then all its files are deleted.

    Args:
        address: where.
        options: of restorations.
        forms: of the tasks that restore files one by one.
        announce: called with the page's address, once the server listens; see `Loading` for its first seconds.

    Raises:
        RestoreError: gradio is missing, or the address cannot be used.
    """
    with _listening(address) as listener:
        with required("bcm-restore web", "gradio", WAY):
            import uvicorn

            if find_spec("gradio") is None:
                raise ModuleNotFoundError(name="gradio")
        from .storage import Storage

        storage = Storage()

        def stop() -> None:
            server.should_exit = True

        try:
            loading = Loading(lambda: _application(storage, address, options, forms), stop)
            guarded = Guard(loading, storage.root, LOCAL if address.host in LOCAL else None)
            config = uvicorn.Config(guarded, log_level="critical", lifespan="on", timeout_graceful_shutdown=2)
            server = uvicorn.Server(config)
            announce(f"http://{address.host}:{listener.getsockname()[1]}")
            server.run(sockets=[listener])
            if loading.error:
                raise loading.error
        finally:
            storage.close()


def _application(storage: "Storage", address: Address, options: Options, forms: Sequence[Form]) -> Any:
    """The page as an application of FastAPI.

    Raises:
        RestoreError: gradio is missing or cannot be imported.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(storage.root)  # read when components are made
    gc.disable()  # looking for garbage takes a tenth of the time of imports, which leave none
    try:
        with required("bcm-restore web", "gradio", WAY):
            import gradio
        from . import page
        from .controls import Page

        blocks = page.build(Page(storage, options), forms)
    finally:
        gc.enable()
    blocks.queue(max_size=64)
    blocks.has_launched = True  # else gradio takes any path on the server for an upload
    return gradio.mount_gradio_app(
        _bare(),
        blocks,
        path="",
        auth=_login(address.password),
        max_file_size=MOST,
        ssr_mode=False,
        theme=page.theme(),
        css=page.STYLE,
        js=page.PASTE,
        footer_links=[],
        show_error=True,
        pwa=False,
        enable_monitoring=False,
        mcp_server=False,
    )


def _bare() -> Any:
    """An application without routes of its own."""
    from fastapi import FastAPI

    return FastAPI(docs_url=None, redoc_url=None, openapi_url=None)


def _login(password: str | None) -> Callable[[str, str], bool] | None:
    """Checks the password, with any name."""
    if password is None:
        return None
    expected = password.encode()
    return lambda user, given: hmac.compare_digest(given.encode(), expected)


def _listening(address: Address) -> socket.socket:
    """A socket that listens at the address.

    Raises:
        RestoreError: the address does not exist, or the port is used.
    """
    try:
        [(family, *_, place), *_] = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
            listener.listen(128)
        except OSError:
            listener.close()
            raise
        return listener
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RestoreError(f"{address.host}:{address.port}: {reason}; give another --host or --port") from None
