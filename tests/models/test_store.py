from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from auricle.errors import ModelError
from auricle.models.store import list_pulled, models_dir, resolve

if TYPE_CHECKING:
    from pathlib import Path


def test_a_path_that_exists_wins(store: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    resolved = resolve(str(tmp_path / "mine"))
    assert (resolved.name, resolved.path, resolved.entry) == ("mine", tmp_path / "mine", None)
    assert not store.exists()


def test_a_folder_of_a_catalogue_name_beside_the_user_wins(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parakeet-tdt-1.1b").mkdir()
    assert resolve("parakeet-tdt-1.1b").path == tmp_path / "parakeet-tdt-1.1b"
    assert not store.exists()


@pytest.mark.parametrize("path", ["./none", "none/at/all", "~/none-at-all", "..\\none", "../parakeet-tdt-1.1b"])
def test_a_path_that_does_not_exist_is_named(store: Path, path: str) -> None:
    with pytest.raises(ModelError, match="no such model file or folder"):
        resolve(path)
    assert not store.exists()


@pytest.mark.parametrize("name", ["...", "parakeet-tdt-0.6b", "nul\0", "", " "])
def test_a_name_that_is_not_in_the_catalogue_is_refused(store: Path, name: str) -> None:
    with pytest.raises(ModelError, match="no such model"):
        resolve(name)
    assert not store.exists()


def test_a_model_not_pulled_yet_says_how_to_pull_it(store: Path) -> None:
    with pytest.raises(ModelError, match=r"hint: auricle models pull parakeet-tdt-1\.1b"):
        resolve("parakeet-tdt-1.1b")
    assert not store.exists()


def test_the_embedded_model_needs_no_file(store: Path) -> None:
    assert resolve("pocketsphinx-en-us").path is None
    assert not store.exists()


def test_an_empty_store_lists_nothing(store: Path) -> None:
    assert list_pulled() == ()
    store.mkdir()
    (store / "stray.txt").write_text("")
    (store / "half").mkdir()
    assert list_pulled() == ()


def test_the_store_is_in_the_users_cache_unless_named(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert models_dir() == store
    monkeypatch.delenv("AURICLE_MODELS")
    assert models_dir().parts[-2:] == ("auricle", "models") or "auricle" in models_dir().parts
