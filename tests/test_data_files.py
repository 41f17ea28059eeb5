import gzip
import hashlib

import numpy as np
import pytest

from reprise.data import bundled, files
from reprise.errors import DataError


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("REPRISE_DATA", str(tmp_path))
    return tmp_path


def put(monkeypatch, cache, name: str, content: bytes) -> None:
    """Place a small file under a known name and make its checksum the expected one."""
    (cache / name).parent.mkdir(exist_ok=True)
    (cache / name).write_bytes(content)
    file = files.File("https://127.0.0.1:9/none", hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(files.FILES, name, file)


def test_idx_files_are_read_with_their_headers_left_out(monkeypatch, cache):
    pixels, digits = np.arange(2 * 28 * 28, dtype=np.uint8), np.array([7, 2], dtype=np.uint8)
    put(monkeypatch, cache, "mnist/t10k-images-idx3-ubyte.gz", gzip.compress(bytes(16) + pixels.tobytes()))
    put(monkeypatch, cache, "mnist/t10k-labels-idx1-ubyte.gz", gzip.compress(bytes(8) + digits.tobytes()))
    images, labels = files.mnist_test()
    np.testing.assert_array_equal(images, pixels.reshape(2, 28, 28))
    np.testing.assert_array_equal(labels, [7, 2])


def test_a_checksum_that_does_not_match_is_named_and_the_file_is_kept(cache):
    path = cache / "text" / "tinyshakespeare.txt"
    path.parent.mkdir()
    path.write_text("To be")
    with pytest.raises(DataError, match="is not the expected file: its SHA-256 begins with"):
        files.tiny_shakespeare()
    assert path.exists()


def test_missing_data_without_a_network_says_what_to_set(monkeypatch, cache):
    name = "text/tinyshakespeare.txt"
    monkeypatch.setitem(files.FILES, name, files.File("http://127.0.0.1:9/none", "0" * 64))
    with pytest.raises(DataError, match="set REPRISE_DATA to a folder that holds"):
        files.fetch(name)
    assert not list(cache.rglob("*.txt"))


def test_a_download_with_the_wrong_checksum_leaves_nothing_behind(monkeypatch, cache, tmp_path_factory):
    from functools import partial
    from http.server import HTTPServer, SimpleHTTPRequestHandler
    from threading import Thread

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    served = tmp_path_factory.mktemp("served")
    (served / "input.txt").write_text("cut sho")
    server = HTTPServer(("127.0.0.1", 0), partial(Quiet, directory=served))
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/input.txt"
    name = "text/tinyshakespeare.txt"
    monkeypatch.setitem(files.FILES, name, files.File(url, "0" * 64))
    with pytest.raises(DataError, match="its checksum does not match"):
        files.fetch(name)
    assert not list(cache.rglob("*.txt"))
    good = hashlib.sha256(b"cut sho").hexdigest()
    monkeypatch.setitem(files.FILES, name, files.File(url, good))
    assert files.tiny_shakespeare() == "cut sho"
    server.shutdown()


def test_unknown_names_and_folders(monkeypatch):
    with pytest.raises(DataError, match="did you mean 'text/tinyshakespeare.txt'"):
        files.fetch("text/tinyshakespear.txt")
    monkeypatch.setenv("REPRISE_DATA", "/no/such/folder")
    with pytest.raises(DataError, match="which is no folder"):
        files.fetch("text/tinyshakespeare.txt")


def test_unknown_table_of_scikit_learn_is_refused():
    with pytest.raises(DataError, match="did you mean 'digits.csv.gz'"):
        bundled.table("digit.csv.gz")
