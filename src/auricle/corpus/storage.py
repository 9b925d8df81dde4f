"""Where corpora are kept on this machine, and how one is put there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from auricle.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator


def corpora_folder() -> Path:
    """Return the folder of imported and downloaded corpora: `corpora` in AURICLE_DATA or in the user's data folder."""
    import platformdirs

    data = os.environ.get("AURICLE_DATA") or platformdirs.user_data_dir("auricle", appauthor=False)
    return Path(data) / "corpora"


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes `path` when the body succeeds and vanishes when it fails.

    Raises CorpusError when `path` holds something already.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise CorpusError("there is something here already", path, "name a new or empty folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as temporary:
        folder = Path(temporary) / path.name
        folder.mkdir()
        yield folder
        if path.exists():
            path.rmdir()
        try:
            folder.rename(path)
        except OSError as error:
            raise CorpusError("there is something here by now", path, error.strerror) from error
