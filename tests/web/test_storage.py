"""Nothing is kept after a session, and nothing else is served."""

import asyncio
import os
import time

import pytest

from bcm_restore.errors import RestoreError
from bcm_restore.web import storage as module
from bcm_restore.web.server import POLICY, Guard
from bcm_restore.web.storage import Storage


@pytest.fixture
def storage():
    found = Storage()
    yield found
    found.close()


def upload(storage, name="photo.png", folder="0a1b"):
    path = storage.root / folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"picture")
    return path


def test_files_go_with_their_session(storage):
    first, second = storage.session("first"), storage.session("second")
    assert storage.session("first") is first
    own, shared = upload(storage, "own.png"), upload(storage, "shared.png", "2c3d")
    assert storage.claim(first, [own, shared]) == [own, shared]
    storage.claim(second, [shared])
    (first.new_folder() / "result.png").write_bytes(b"result")
    storage.end("first")
    assert not own.exists() and not own.parent.exists() and not first.folder.exists()
    assert first.stop.is_set()
    assert shared.exists() and second.folder.exists()
    storage.end("second")
    assert [path for path in storage.root.rglob("*") if path.is_file()] == []


def test_uploads_that_nobody_claims_go_as_well(storage):
    session, other = storage.session("one"), storage.session("two")
    old, fresh = upload(storage, "old.png"), upload(storage, "fresh.png", "2c3d")
    os.utime(old, (0, time.time() - module.UNCLAIMED - 1))
    storage.claim(session, [])
    assert not old.exists() and fresh.exists()
    storage.end("one")
    assert fresh.exists()
    storage.end("two")
    assert not fresh.exists()
    assert other.stop.is_set()


def test_closing_deletes_everything(storage):
    storage.claim(storage.session("one"), [upload(storage)])
    storage.close()
    assert not storage.root.exists()


@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd", "{root}/../../etc/passwd", "{root}/gone.png"])
def test_only_uploaded_files_are_claimed(storage, path):
    with pytest.raises(RestoreError, match="is not here any more; upload it again"):
        storage.claim(storage.session("one"), [path.format(root=storage.root)])


def test_a_new_restoration_is_not_stopped_by_an_earlier_cancel(storage):
    session = storage.session("one")
    first = session.begin()
    session.stop.set()
    second = session.begin()
    assert first.is_set() and not second.is_set()


# The guard


def asked(storage, path, host="127.0.0.1:7860", hosts=("127.0.0.1", "localhost")):
    """The status and the headers of the answer to a request."""
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": path, "headers": [(b"host", host.encode())]}
    asyncio.run(Guard(app, storage.root, hosts)(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"])


def test_the_page_and_its_files_are_served(storage):
    for path in ("/", "/config", "/assets/index.js", "/gradio_api/queue/join", "/gradio_api/upload"):
        status, headers = asked(storage, path)
        assert (status, headers[b"content-security-policy"]) == (200, POLICY.encode())
    assert asked(storage, f"/gradio_api/file={upload(storage)}")[0] == 200
    assert asked(storage, "/gradio_api/heartbeat/abc")[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=//etc/passwd",
        "/gradio_api/file=etc/passwd",
        "/gradio_api/file=http://127.0.0.1/",
        "/gradio_api/file=file:///etc/passwd",
        "/gradio_api/file={root}/../../etc/passwd",
        "/gradio_api/file={root}-other/secret.png",
        "/gradio_api/file={root}/link/passwd",
        "/gradio_api/file/etc/passwd",
        "/gradio_api/proxy=http://127.0.0.1/",
        "/gradio_api/vibe-code",
        "/assets/../../etc/passwd",
        "/monitoring",
        "/file=/etc/passwd",
    ],
)
def test_nothing_else_is_served(storage, path):
    (storage.root / "link").symlink_to("/etc")
    assert asked(storage, path.format(root=storage.root))[0] == 404


def test_other_names_of_this_computer_are_refused(storage):
    """A site may make its own name point here, to read what the page shows (DNS rebinding)."""
    assert asked(storage, "/", host="evil.example:7860")[0] == 404
    assert asked(storage, "/", host="localhost:7860")[0] == 200
    assert asked(storage, "/", host="photos.example", hosts=None)[0] == 200
