"""The models that Auricle knows by name: one file in the package, and one of the user's own merged over it by name."""

from __future__ import annotations

import difflib
import os
import tomllib
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from auricle.errors import ModelError, UsageError
from auricle.models.checks import Expected
from auricle.models.urls import check_url

if TYPE_CHECKING:
    from collections.abc import Mapping

OWN_CATALOGUE = "AURICLE_CATALOGUE"


def inner_path(path: str) -> str:
    """Return the path of a file inside a model's folder as it is; raises ValueError when it would lead outside."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or ":" in path:
        raise ValueError(f"not a path inside the model's folder: {path!r}")
    return path


def _fetchable(url: str) -> str:
    check_url(url, plain_http=False)
    return url


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(gt=0)]
Size = Annotated[int, Field(ge=0)]
InnerPath = Annotated[str, AfterValidator(inner_path)]
Url = Annotated[str, AfterValidator(_fetchable)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelFile(_Record):
    """One file of a model; its URL when it comes from an address of its own."""

    path: InnerPath
    bytes: Size | None = None
    sha256: Sha256 | None = None
    url: Url | None = None

    @property
    def expected(self) -> Expected:
        """What a fetched file is compared with."""
        return Expected(sha256=self.sha256, bytes=self.bytes)


class HubSource(_Record):
    """A repository of the model hub; revision None is its main branch."""

    kind: Literal["hub"]
    repo: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: str | None = None


class ArchiveSource(_Record):
    """A tar or zip archive, one folder of which is the model."""

    kind: Literal["archive"]
    url: Url
    bytes: Size | None = None
    sha256: Sha256 | None = None


class UrlSource(_Record):
    """Files that each have an address."""

    kind: Literal["urls"]


class EmbeddedSource(_Record):
    """Nothing to fetch: the engine's package carries the model."""

    kind: Literal["embedded"]


class ShippedSource(_Record):
    """Nothing to fetch: Auricle's own package holds the file, in its folder of checkpoints."""

    kind: Literal["shipped"]
    file: Name


class Defect(_Record):
    """What goes wrong with a model, under which precision and on which device (None: any), and who says so."""

    what: str
    precision: str | None = None
    device: str | None = None
    source: str


class CatalogueEntry(_Record):
    """One model. What no source states is None; `sources` names for each address the fields that it states.

    `parameters` counts weights, `precisions` are those the files hold, `devices` those it is known to work on,
    `lookahead_ms` are the chunk sizes that a streaming model offers.
    """

    name: Name
    engines: Annotated[tuple[str, ...], Field(min_length=1)]
    source: HubSource | ArchiveSource | UrlSource | EmbeddedSource | ShippedSource = Field(discriminator="kind")
    files: tuple[ModelFile, ...] = ()
    languages: tuple[str, ...] | None = None
    parameters: Count | None = None
    precisions: tuple[str, ...] | None = None
    devices: tuple[str, ...] | None = None
    licence: str | None = None
    streaming: bool = False
    lookahead_ms: tuple[Count, ...] = ()
    defects: tuple[Defect, ...] = ()
    sources: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    @property
    def download_bytes(self) -> int | None:
        """The size of the download where it is known; 0 for a model that an engine or Auricle carries."""
        if isinstance(self.source, EmbeddedSource | ShippedSource):
            return 0
        if isinstance(self.source, ArchiveSource):
            return self.source.bytes
        sizes = [file.bytes for file in self.files if file.bytes is not None]
        return sum(sizes) if sizes and len(sizes) == len(self.files) else None

    @model_validator(mode="after")
    def _files_fit_the_source(self) -> CatalogueEntry:
        if isinstance(self.source, UrlSource):
            if not self.files or any(file.url is None for file in self.files):
                raise ValueError("every file of a source of kind urls needs a url")
        elif any(file.url is not None for file in self.files):
            raise ValueError(f"a file of a source of kind {self.source.kind} has no url of its own")
        return self


def catalogue() -> Mapping[str, CatalogueEntry]:
    """Read the package's catalogue and the user's; an entry of the user's replaces the one of the same name.

    The user's is the file that AURICLE_CATALOGUE names, else `catalogue.toml` in the user's configuration folder, if
    there is one. Raises UsageError listing all its problems.
    """
    own = _own_catalogue()
    entries = _read(resources.files("auricle.models").joinpath("catalogue.toml").read_text("utf-8"), "catalogue.toml")
    if own is not None:
        try:
            entries |= _read(own.read_text("utf-8"), str(own))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the catalogue ({error})", own, f"correct {OWN_CATALOGUE}") from error
    return entries


def get(name: str) -> CatalogueEntry:
    """Look a model up by its name; raises ModelError naming the closest ones."""
    entries = catalogue()
    if name in entries:
        return entries[name]
    lowered = {known.lower(): known for known in entries}
    close = [lowered[found] for found in difflib.get_close_matches(name.rpartition("/")[2].lower(), lowered, n=3)]
    remedy = f"did you mean {' or '.join(close)}?" if close else "`auricle models list` shows those that there are"
    raise ModelError("no such model in the catalogue", name, remedy)


def _own_catalogue() -> Path | None:
    if os.environ.get(OWN_CATALOGUE):
        return Path(os.environ[OWN_CATALOGUE])
    import platformdirs

    path = platformdirs.user_config_path("auricle", appauthor=False) / "catalogue.toml"
    return path if path.is_file() else None


class _Tables(_Record):
    """A catalogue file: tables `[[model]]`, and lists of languages that they may name."""

    model: tuple[dict[str, Any], ...] = ()
    languages: dict[str, tuple[str, ...]] = Field(default_factory=dict)


def _read(text: str, origin: str) -> dict[str, CatalogueEntry]:
    try:
        tables = _Tables.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the catalogue is no TOML ({error})", origin, "correct that line") from error
    except ValidationError as error:
        raise _invalid([_problem(detail) for detail in error.errors()], origin) from error
    problems = []
    entries: dict[str, CatalogueEntry] = {}
    for number, table in enumerate(tables.model, start=1):
        label = table.get("name", f"model {number}")
        named = table.get("languages")
        languages = tables.languages.get(named, named) if isinstance(named, str) else named
        try:
            entry = CatalogueEntry.model_validate(table | {"languages": languages})
        except ValidationError as error:
            problems += [f"{label}: {_problem(detail)}" for detail in error.errors()]
            continue
        if entry.name in entries:
            problems.append(f"{label}: named twice")
        entries[entry.name] = entry
    if problems:
        raise _invalid(problems, origin)
    return entries


def _invalid(problems: list[str], origin: str) -> UsageError:
    return UsageError(f"{len(problems)} problems in the catalogue: {'; '.join(problems)}", origin, "correct them")


def _problem(detail: Any) -> str:
    where = ".".join(str(part) for part in detail["loc"])
    return f"{where}: {detail['msg']}" if where else str(detail["msg"])
