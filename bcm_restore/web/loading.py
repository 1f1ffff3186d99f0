"""Answers while the page is still being built, as importing gradio takes seconds."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

HEADERS = [(b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"no-store")]
# /config is only answered by the page itself
WAITING = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>bcm-restore</title>
<meta name="viewport" content="width=device-width"><noscript><meta http-equiv="refresh" content="2"></noscript>
<style>:root { color-scheme: light dark; font-family: system-ui, sans-serif }
body { margin: 2rem auto; max-width: 1000px; padding: 0 1rem }</style>
<h2>bcm-restore</h2><p role="status">The page is being loaded.</p>
<script>fetch("config").finally(() => location.reload())</script></html>"""


class Loading:
    """An application that a thread builds while the server already answers.

    Until it is built, `/` says so, and all other requests wait.

    Args:
        build: makes the application, of Starlette's kind.
        failed: called if `build` raises an error.

    Attributes:
        error: that `build` has raised.
    """

    def __init__(self, build: Callable[[], Any], failed: Callable[[], None]) -> None:
        self._build, self._failed, self._built = build, failed, asyncio.Event()
        self._app: Any = None
        self.error: Exception | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers a request, as ASGI demands."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["path"] == "/" and self._app is None:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            await send({"type": "http.response.body", "body": WAITING})
        else:
            await self._built.wait()
            await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Builds the application and runs it until the server stops."""
        await receive()
        await send({"type": "lifespan.startup.complete"})
        try:
            app = await asyncio.to_thread(self._build)
        except Exception as error:
            self.error = error
            self._failed()
            await receive()
        else:
            async with app.router.lifespan_context(app):
                self._app = app
                self._built.set()
                await receive()
        await send({"type": "lifespan.shutdown.complete"})
