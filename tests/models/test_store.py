from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from auricle.errors import ModelError
from auricle.models.catalogue import get
from auricle.models.store import is_built_in, list_pulled, models_dir, resolve

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


def test_a_checkpoint_that_should_be_in_the_package_is_missed_by_name(store: Path) -> None:
    own = store.parent / "no-models.toml"
    own.write_text(
        "[[model]]\nname = 'absent'\nengines = ['fastconformer']\nsource = { kind = 'shipped', file = 'absent.nemo' }\n"
    )
    assert not is_built_in(get("absent"))
    with pytest.raises(ModelError, match=r"lacks a checkpoint.*absent\.nemo"):
        resolve("absent")


def test_a_checkpoint_of_the_package_is_found_by_its_name(store: Path) -> None:
    if not is_built_in(get("auricle-digits-en")):
        pytest.skip("the checkpoint is not in this tree")
    path = resolve("auricle-digits-en").path
    assert path is not None
    assert path.name == "auricle-digits-en.nemo"
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
