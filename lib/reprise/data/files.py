"""Data files by name: from ``REPRISE_DATA`` or a cache if they are there, else downloaded once and checked."""

from __future__ import annotations

import gzip
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pooch
from jaxtyping import Int, UInt8

from reprise.errors import DataError, closest


@dataclass(frozen=True)
class File:
    """Where a file comes from and what it must be."""

    url: str
    sha256: str


MNIST = "https://storage.googleapis.com/cvdf-datasets/mnist"
FILES = {
    "mnist/t10k-images-idx3-ubyte.gz": File(
        f"{MNIST}/t10k-images-idx3-ubyte.gz", "167310007f03058885c7e95e6c0b19c20de5c7fd3031f4cbdadc9014a523d80b"
    ),
    "mnist/t10k-labels-idx1-ubyte.gz": File(
        f"{MNIST}/t10k-labels-idx1-ubyte.gz", "fc607395669ec21321ea83e4b82c0544b7e8e63ff5b34337c06bc0a17cc0da3c"
    ),
    "text/tinyshakespeare.txt": File(
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    ),
}


def fetch(name: str) -> Path:
    """The local path of a data file, downloaded into the cache (``REPRISE_DATA``, else the user's) if it is missing.

    Args:
        name: a key of `FILES`, also its path below the cache.

    Raises:
        DataError: unknown name; no copy and no network (says what to set); a copy with another checksum.
    """
    if name not in FILES:
        raise DataError(f"unknown data file '{name}'{closest(name, FILES)}; there is {', '.join(FILES)}")
    file, folder = FILES[name], cache()
    path = folder / name
    if not path.exists():
        _download(name, file, folder)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != file.sha256:
        raise DataError(
            f"{path} is not the expected file: its SHA-256 begins with {found[:12]}, not {file.sha256[:12]}. "
            "Delete it to download it again"
        )
    return path


def cache() -> Path:
    """The folder that holds data files: ``REPRISE_DATA`` if set (it must exist), else the user's cache."""
    chosen = os.environ.get("REPRISE_DATA")
    if chosen and not Path(chosen).is_dir():
        raise DataError(
            f"REPRISE_DATA is '{chosen}', which is no folder; point it to a folder that holds {_examples()}"
        )
    return Path(chosen) if chosen else Path(pooch.os_cache("reprise"))


def _examples() -> str:
    return ", ".join(list(FILES)[:2]) + ", ..."


def _download(name: str, file: File, folder: Path) -> None:
    path = folder / name
    try:
        # Pooch moves the file into place only when it is whole and its checksum is right.
        pooch.retrieve(file.url, f"sha256:{file.sha256}", fname=path.name, path=path.parent, progressbar=False)
    except ValueError:
        raise DataError(f"what {file.url} gave is not the expected {name}: its checksum does not match") from None
    except Exception as error:  # requests, urllib and the file system each have their own
        raise DataError(
            f"{name} is not in {folder} and could not be downloaded from {file.url} ({type(error).__name__}); "
            f"set REPRISE_DATA to a folder that holds {_examples()}"
        ) from None


def mnist_test() -> tuple[UInt8[np.ndarray, "10000 28 28"], Int[np.ndarray, " 10000"]]:
    """MNIST's 10 000 test images, grey levels 0 to 255, and their digits (LeCun et al. 1998)."""
    images = gzip.decompress(fetch("mnist/t10k-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress(fetch("mnist/t10k-labels-idx1-ubyte.gz").read_bytes())
    # IDX headers: 16 bytes (magic, count, rows, columns) and 8 bytes (magic, count).
    return (
        np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28),
        np.frombuffer(labels, np.uint8, offset=8).astype(int),
    )


def tiny_shakespeare() -> str:
    """A million characters of Shakespeare's plays (Karpathy 2015)."""
    return fetch("text/tinyshakespeare.txt").read_text(encoding="utf-8")
