"""The server without a browser: messages, passwords, paths, and what it leaves behind."""

import io
import re
import signal
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bcm_restore

pytestmark = pytest.mark.slow
gradio_client = pytest.importorskip("gradio_client", reason="needs gradio: the extra web")
httpx = pytest.importorskip("httpx", reason="needs gradio: the extra web")

DEFAULTS = {"preset": "Fast", "model": "bcm-photo-small", "scheme": "", "seed": 0}


@pytest.fixture
def client(server):
    found = gradio_client.Client(server.address, verbose=False, download_files=False)
    yield found
    found.close()


def jpeg(client, *files, format="png", input_quality="", **options):
    """The status line and the file to download."""
    chosen = {**DEFAULTS, **options}
    status, _, download = client.predict(
        [gradio_client.handle_file(str(file)) for file in files],
        *chosen.values(),
        format,
        input_quality,
        api_name="/jpeg",
    )
    found = download["value"] if isinstance(download, dict) and "value" in download else download
    return status, found


def fetched(server, file):
    """The bytes of a file to download."""
    answer = httpx.get(f"{server.address}/gradio_api/file={file['path']}")
    assert answer.status_code == 200
    return answer.content


def test_a_jpeg_is_restored_with_its_coefficients(server, client, save, portrait, tmp_path):
    photo = save("photo.jpg", portrait, quality=10)
    status, download = jpeg(client, photo)
    assert "photo.jpg: restored, 128x128, NFE 1" in status
    bcm_restore.restore_file("jpeg", photo, tmp_path / "expected.png", nfe=1, model="bcm-photo-small")
    found = np.asarray(Image.open(io.BytesIO(fetched(server, download))))
    assert np.array_equal(found, np.asarray(Image.open(tmp_path / "expected.png")))


def test_several_files_give_a_zip_and_a_broken_one_does_not_stop_them(server, client, save, portrait, tmp_path):
    photos = [save(f"photo{n}.jpg", portrait[: 64 + n], quality=10 + n) for n in range(2)]
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    status, download = jpeg(client, *photos, tmp_path / "broken.jpg")
    assert "photo1.jpg: restored" in status and "broken.jpg: " in status and 'class="failed"' in status
    with zipfile.ZipFile(io.BytesIO(fetched(server, download))) as archive:
        assert sorted(archive.namelist()) == ["photo0_restored.png", "photo1_restored.png"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda save, face: save("large.png", np.zeros((1100, 1100, 3), np.uint8)), "large.png: .*--max-pixels"),
        (lambda save, face: save("none.png", face), "none.png: .*no trace of JPEG compression found; --input-quality"),
    ],
    ids=["too large", "not a JPEG"],
)
def test_the_commands_own_message(client, save, face, make, message):
    status, _ = jpeg(client, make(save, face))
    assert re.search(message, status)
    assert "/tmp" not in status and "Traceback" not in status


def test_a_scheme_that_is_none(client, save, portrait):
    status, _ = jpeg(client, save("photo.jpg", portrait, quality=10), scheme="noise 1")
    assert "leaves noise in the picture" in status


@pytest.mark.parametrize("text", ["0", "many", "101"])
def test_a_number_that_is_none(client, save, portrait, text):
    status, _ = jpeg(client, save("photo.jpg", portrait, quality=10), input_quality=text)
    assert f"input quality {text}: give " in status


def test_a_model_of_another_path_is_refused(client, save, portrait):
    with pytest.raises(Exception, match=r"not in the list of choices|Value"):
        jpeg(client, save("photo.jpg", portrait, quality=10), model="/etc/passwd")


PATHS = [
    "/etc/passwd",
    str(Path(bcm_restore.__file__).resolve()),
    str(Path(bcm_restore.__file__).resolve().parents[1] / "weights" / "bcm-photo.safetensors"),
    "../../../../etc/passwd",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("route", ["/gradio_api/file=", "/file=", "/gradio_api/file/", "/static/", "/assets/"])
def test_no_other_path_is_served(server, route, path):
    for text in (path, path.replace("/", "%2F"), path.replace("..", "%2e%2e")):
        answer = httpx.get(server.address + route + text)
        assert answer.status_code in (403, 404), (route, text)
        assert b"root:" not in answer.content


@pytest.mark.parametrize("path", PATHS)
def test_no_other_path_is_an_input(client, path):
    given = {"path": path, "meta": {"_type": "gradio.FileData"}}
    try:
        status = client.predict([given], *DEFAULTS.values(), "png", "", api_name="/jpeg")[0]
    except Exception as error:
        status = str(error)
    assert "restored" not in status
    assert "root:" not in status


def test_a_picture_of_the_server_is_no_upload(server, save, portrait):
    """Requests as a browser sends them: the client would upload the file."""
    photo = save("own/unsent.jpg", portrait, quality=10)
    config = httpx.get(f"{server.address}/config").json()
    [event] = [one["id"] for one in config["dependencies"] if one["api_name"] == "jpeg"]
    given = {"path": str(photo), "meta": {"_type": "gradio.FileData"}}
    data = [[given], *DEFAULTS.values(), "png", ""]
    body = {"fn_index": event, "session_hash": "thief", "data": data}
    assert httpx.post(f"{server.address}/gradio_api/queue/join", json=body).status_code == 200
    with httpx.stream("GET", f"{server.address}/gradio_api/queue/data?session_hash=thief", timeout=60) as answer:
        lines = [line for line in answer.iter_lines() if '"process_completed"' in line]
    assert '"success":false' in lines[0] and "restored" not in lines[0]
    assert not [path for path in server.files() if path.name == photo.name]


def test_other_sites_are_refused(server):
    for origin, status in (("http://evil.example", 404), (server.address, 200)):
        files = {"files": ("a.png", b"a")}
        answer = httpx.post(f"{server.address}/gradio_api/upload", files=files, headers={"Origin": origin})
        assert answer.status_code == status, origin


@pytest.mark.parametrize(("preset", "nfe"), [("Fast", 1), ("Balanced", 4)])
def test_noise_is_removed_with_the_evaluations_of_the_preset(client, save, portrait, preset, nfe):
    noisy = (portrait + np.random.default_rng(0).normal(0, 15, portrait.shape)).round().clip(0, 255).astype(np.uint8)
    chosen = {**DEFAULTS, "preset": preset}
    files = [gradio_client.handle_file(str(save("noisy.png", noisy)))]
    status = client.predict(files, *chosen.values(), "png", "", 0.0, api_name="/denoise")[0]
    assert f"noisy.png: restored, 128x128, NFE {nfe}" in status


def test_a_kernel_is_no_file_of_the_server(client, save, portrait):
    files = [gradio_client.handle_file(str(save("photo.png", portrait)))]
    status = client.predict(files, *DEFAULTS.values(), "png", "/etc/passwd", "", api_name="/deblur")[0]
    assert "kernel /etc/passwd: give gaussian:SIGMA, motion:LENGTH:ANGLE, disk:RADIUS or auto" in status


@pytest.mark.parametrize("name", ["../../evil.png", "/etc/evil.png", "..", "a/../../b.png", "x" * 300 + ".png"])
def test_names_of_uploads_stay_inside(server, name):
    answer = httpx.post(f"{server.address}/gradio_api/upload", files={"files": (name, b"evil")})
    if answer.status_code == 200:
        [path] = answer.json()
        [root] = server.temporary.glob("bcm-restore-web-*")
        assert Path(path).resolve().is_relative_to(root)
    assert not Path("/etc/evil.png").exists()
    assert not list(server.temporary.parent.glob("*evil*"))


def test_uploads_are_bounded(server):
    """A request that is too long is refused by its parts, so the limit is that of the application."""
    answer = httpx.get(f"{server.address}/config")
    assert answer.json()["max_file_size"] == 512 * 2**20


def test_a_password(serve):
    with serve("--host", "127.0.0.1", "--password", "open sesame") as found:
        for route in ("/config", "/gradio_api/info", "/gradio_api/queue/data?session_hash=x"):
            assert httpx.get(found.address + route).status_code == 401, route
        files = {"files": ("a.png", b"a")}
        assert httpx.post(f"{found.address}/gradio_api/upload", files=files).status_code == 401
        for password, status in (("wrong", 400), ("open sesame", 200)):
            answer = httpx.post(f"{found.address}/login", data={"username": "anyone", "password": password})
            assert answer.status_code == status
        cookies = dict(answer.cookies.items())
        assert httpx.get(f"{found.address}/config", cookies=cookies).status_code == 200


def test_nothing_is_left_behind(serve, save, portrait):
    photo = save("photos/photo.jpg", portrait, quality=10)
    with serve() as found:
        client = gradio_client.Client(found.address, verbose=False, download_files=False)
        jpeg(client, photo)
        assert {"photo.jpg", "photo_restored.png"} <= {path.name for path in found.files()}
        client.close()
        deadline = time.monotonic() + 60
        while found.files() and time.monotonic() < deadline:
            time.sleep(0.2)
        assert found.files() == []
        httpx.post(f"{found.address}/gradio_api/upload", files={"files": ("late.png", b"late")})
        assert found.files()
        found.process.send_signal(signal.SIGTERM)
        assert found.process.wait(30) in (0, 130, 143, -signal.SIGTERM)
        assert not list(found.temporary.glob("bcm-restore-web-*"))
        assert not list(found.temporary.glob(".gradio*"))
