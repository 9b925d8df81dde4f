from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from auricle.errors import ModelError, UsageError
from auricle.models.catalogue import ArchiveSource, CatalogueEntry, HubSource, catalogue, get

CLAIMS = ("files", "languages", "parameters", "precisions", "devices", "licence", "streaming", "lookahead_ms")
REPOSITORY = Path(__file__).parents[2]
WANTED = [
    "pocketsphinx-en-us",
    "nemotron-speech-streaming-en-0.6b",
    "parakeet-tdt-0.6b-v2",
    "parakeet-tdt-0.6b-v3",
    "parakeet-tdt-1.1b",
    "sherpa-onnx-nemo-parakeet_tdt_transducer_110m-en-36000",
    "sherpa-onnx-nemo-parakeet-tdt-0.6b-v2-int8",
    "sherpa-onnx-nemo-parakeet-tdt-0.6b-v3-int8",
    "sherpa-onnx-nemo-parakeet-tdt-0.6b-v2-fp16",
    "qwen3-asr-0.6b",
    "qwen3-asr-1.7b",
    "emformer-rnnt-base-librispeech",
    *(f"faster-whisper-{size}" for size in ("tiny", "base", "small", "medium", "large-v3", "large-v3-turbo")),
    *(f"sherpa-onnx-whisper-{size}" for size in ("tiny", "base", "small", "medium", "large-v3", "turbo")),
]


@pytest.fixture
def shipped(store: Path) -> list[CatalogueEntry]:
    """The package's own entries."""
    assert not store.exists()
    return list(catalogue().values())


@pytest.fixture
def own(store: Path) -> Path:
    """The user's catalogue, empty."""
    return store.parent / "no-models.toml"


def test_the_catalogue_names_the_models_that_are_wanted(shipped: list[CatalogueEntry]) -> None:
    assert set(WANTED) <= {entry.name for entry in shipped}


def test_every_claim_has_a_source(shipped: list[CatalogueEntry]) -> None:
    for entry in shipped:
        stated = {claim for claims in entry.sources.values() for claim in claims}
        made = {"source"} | {claim for claim in CLAIMS if getattr(entry, claim)}
        assert stated == made, entry.name


def test_every_source_is_an_address_or_a_file_of_this_repository(shipped: list[CatalogueEntry]) -> None:
    for entry in shipped:
        for source in (*entry.sources, *(defect.source for defect in entry.defects)):
            assert urlsplit(source).scheme == "https" or (REPOSITORY / source).exists(), (entry.name, source)


def test_a_hash_of_a_hub_file_goes_with_a_pinned_revision(shipped: list[CatalogueEntry]) -> None:
    for entry in shipped:
        if isinstance(entry.source, HubSource) and any(file.sha256 or file.bytes for file in entry.files):
            assert entry.source.revision is not None, entry.name
            assert len(entry.source.revision) == len("0" * 40)


def test_an_archive_is_named_as_its_model(shipped: list[CatalogueEntry]) -> None:
    for entry in shipped:
        if isinstance(entry.source, ArchiveSource):
            assert entry.source.url.endswith(f"/{entry.name}.tar.bz2")


def test_the_known_defects_are_told(store: Path) -> None:
    assert not store.exists()
    [garbage] = get("sherpa-onnx-nemo-parakeet-tdt-0.6b-v2-fp16").defects
    assert (garbage.precision, "garbage" in garbage.what) == ("fp16", True)
    for name in ("sherpa-onnx-nemo-parakeet-tdt-0.6b-v2-int8", "sherpa-onnx-nemo-parakeet-tdt-0.6b-v3-int8"):
        assert get(name).devices == ("cpu",)
        assert [(defect.precision, defect.device) for defect in get(name).defects] == [("int8", "cuda")]


def test_nemotron_offers_four_lookaheads(store: Path) -> None:
    assert not store.exists()
    assert get("nemotron-speech-streaming-en-0.6b").lookahead_ms == (80, 160, 560, 1120)


def test_the_size_of_a_download_is_told_where_it_is_known(store: Path) -> None:
    assert not store.exists()
    assert get("pocketsphinx-en-us").download_bytes == 0
    assert get("sherpa-onnx-whisper-tiny").download_bytes == 116_204_861
    assert get("faster-whisper-tiny").download_bytes == 2_249 + 75_538_270 + 2_203_239 + 459_861
    assert get("parakeet-tdt-1.1b").download_bytes is None


@pytest.mark.parametrize(
    ("name", "closest"),
    [
        ("parakeet-tdt-0.6-v2", "parakeet-tdt-0.6b-v2"),
        ("nvidia/parakeet-tdt-1.1b", "parakeet-tdt-1.1b"),
        ("Qwen3-ASR-0.6B", "qwen3-asr-0.6b"),
    ],
)
def test_an_unknown_name_brings_up_the_closest(store: Path, name: str, closest: str) -> None:
    assert not store.exists()
    with pytest.raises(ModelError, match=f"no such model.*{name}.*did you mean {closest}"):
        get(name)


def test_a_name_like_no_other_points_at_the_list(store: Path) -> None:
    assert not store.exists()
    with pytest.raises(ModelError, match="auricle models list"):
        get("zzzzzz")


def test_the_users_catalogue_adds_and_replaces(own: Path) -> None:
    own.write_text(
        "[languages]\nnordic = ['sv', 'da']\n"
        "[[model]]\nname = 'mine'\nengines = ['nemo']\nsource = { kind = 'hub', repo = 'me/mine' }\n"
        "languages = 'nordic'\n"
        "[[model]]\nname = 'parakeet-tdt-1.1b'\nengines = ['nemo']\nsource = { kind = 'hub', repo = 'me/other' }\n"
    )
    assert get("mine").languages == ("sv", "da")
    assert get("parakeet-tdt-1.1b").source == HubSource(kind="hub", repo="me/other")
    assert set(WANTED) <= set(catalogue())


def test_all_problems_of_a_catalogue_are_listed_at_once(own: Path) -> None:
    own.write_text(
        "[[model]]\nname = '../evil'\nengines = []\nsource = { kind = 'hub', repo = 'no-slash' }\n"
        "[[model]]\nname = 'a'\nengines = ['x']\nsource = { kind = 'archive', url = 'http://example.org/a.zip' }\n"
        "[[model]]\nname = 'b'\nengines = ['x']\nsource = { kind = 'urls' }\nfiles = [{ path = '../b' }]\n"
        "[[model]]\nname = 'c'\nengines = ['x']\nsource = { kind = 'carrier pigeon' }\nparameters = -1\n"
        "colour = 'red'\n"
        "[[model]]\nname = 'd'\nengines = ['x']\nsource = { kind = 'urls' }\n"
        "[[model]]\nname = 'e'\nengines = ['x']\nsource = { kind = 'embedded' }\nlanguages = 'unknown list'\n"
        "[[model]]\nname = 'f'\nengines = ['x']\nsource = { kind = 'embedded' }\n"
        "[[model]]\nname = 'f'\nengines = ['x']\nsource = { kind = 'embedded' }\n"
    )
    with pytest.raises(UsageError) as caught:
        catalogue()
    told = str(caught.value)
    assert "\n" not in told
    for problem in (
        "../evil: name",
        "../evil: engines",
        "../evil: source.hub.repo",
        "a: source.archive.url: Value error, http is refused",
        "b: files.0.path: Value error, not a path inside",
        "c: source: Input tag 'carrier pigeon'",
        "c: parameters",
        "c: colour",
        "d: Value error, every file of a source of kind urls needs a url",
        "e: languages",
        "f: named twice",
    ):
        assert problem in told, problem


@pytest.mark.parametrize("text", ["[[model", "\x00", "model = 3", "[[model]]\nname = 3", "model = ['a']", "[extra]"])
def test_a_catalogue_that_is_none_is_refused_in_one_line(own: Path, text: str) -> None:
    own.write_text(text)
    with pytest.raises(UsageError, match=own.name):
        catalogue()


def test_a_catalogue_that_cannot_be_read_is_named(own: Path) -> None:
    own.unlink()
    with pytest.raises(UsageError, match="cannot read the catalogue"):
        catalogue()
    own.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot read the catalogue"):
        catalogue()
