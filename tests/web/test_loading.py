"""The server answers while its page is being built."""

import asyncio
import threading
from contextlib import asynccontextmanager
from types import SimpleNamespace

from bcm_restore.web.loading import Loading


class Application:
    """An application of Starlette's kind that answers with its path."""

    def __init__(self):
        self.events = []
        self.router = SimpleNamespace(lifespan_context=self.lifespan)

    @asynccontextmanager
    async def lifespan(self, app):
        self.events.append("start")
        yield
        self.events.append("stop")

    async def __call__(self, scope, receive, send):
        await send({"type": "http.response.body", "body": scope["path"].encode()})


async def get(app, path):
    sent = []

    async def send(message):
        sent.append(message)

    await app({"type": "http", "path": path}, None, send)
    return sent[-1]["body"]


class Server:
    """Starts and stops an application, as an ASGI server does."""

    def __init__(self, app):
        self.messages, self.sent = asyncio.Queue(), asyncio.Queue()
        self.task = asyncio.create_task(app({"type": "lifespan"}, self.messages.get, self.sent.put))

    async def change(self, to):
        await self.messages.put({"type": f"lifespan.{to}"})
        assert await self.sent.get() == {"type": f"lifespan.{to}.complete"}


def test_the_page_says_that_it_is_loading_and_other_requests_wait():
    application, build = Application(), threading.Event()

    def built():
        build.wait(10)
        return application

    async def run():
        app = Loading(built, failed=lambda: None)
        server = Server(app)
        await server.change("startup")
        assert b"is being loaded" in await get(app, "/")
        config = asyncio.create_task(get(app, "/config"))
        await asyncio.sleep(0.05)
        assert not config.done()
        build.set()
        assert await config == b"/config"
        assert await get(app, "/") == b"/"
        assert application.events == ["start"]
        await server.change("shutdown")
        assert application.events == ["start", "stop"]

    asyncio.run(run())


def test_a_page_that_cannot_be_built_stops_the_server():
    stopped = asyncio.Event()

    async def run():
        app = Loading(lambda: 1 / 0, failed=stopped.set)
        server = Server(app)
        await server.change("startup")
        await asyncio.wait_for(stopped.wait(), 10)
        assert isinstance(app.error, ZeroDivisionError)
        await server.change("shutdown")

    asyncio.run(run())
