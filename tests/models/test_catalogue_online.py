"""The catalogue's sizes and hashes against their sources, without fetching a model; run by `make test-network`."""

from __future__ import annotations

import socket
import urllib.request

import pytest

from auricle.models.catalogue import ArchiveSource, CatalogueEntry, HubSource, UrlSource, catalogue

pytestmark = pytest.mark.network


@pytest.fixture(scope="module", autouse=True)
def _online() -> None:
    try:
        socket.create_connection(("huggingface.co", 443), timeout=5).close()
    except OSError as error:
        pytest.skip(f"no network: {error}")


def of_kind(kind: type[HubSource | ArchiveSource | UrlSource]) -> list[CatalogueEntry]:
    return [entry for entry in catalogue().values() if isinstance(entry.source, kind)]


def length_of(url: str) -> int:
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 (the catalogue allows https alone)
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        return int(response.headers["Content-Length"])


@pytest.mark.parametrize("entry", of_kind(HubSource), ids=lambda entry: entry.name)
def test_a_hub_repository_has_the_files_that_the_catalogue_names(entry: CatalogueEntry) -> None:
    import huggingface_hub

    assert isinstance(entry.source, HubSource)
    info = huggingface_hub.HfApi().model_info(entry.source.repo, revision=entry.source.revision, files_metadata=True)
    stated = {file.rfilename: file for file in info.siblings}
    for file in entry.files:
        assert file.bytes in {None, stated[file.path].size}
        assert file.sha256 is None or stated[file.path].lfs is None or file.sha256 == stated[file.path].lfs.sha256


@pytest.mark.parametrize("entry", of_kind(ArchiveSource), ids=lambda entry: entry.name)
def test_an_archive_has_the_size_that_the_catalogue_names(entry: CatalogueEntry) -> None:
    assert isinstance(entry.source, ArchiveSource)
    length = length_of(entry.source.url)
    assert length > 0
    assert entry.source.bytes in {None, length}


@pytest.mark.parametrize("entry", of_kind(UrlSource), ids=lambda entry: entry.name)
def test_a_file_with_an_address_is_there(entry: CatalogueEntry) -> None:
    for file in entry.files:
        assert file.url is not None
        assert length_of(file.url) > 0
