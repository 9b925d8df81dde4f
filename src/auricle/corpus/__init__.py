"""Corpora: recordings with their texts, opened by name or path, checked, imported, and spoken by machine."""

from auricle.corpus.checks import check
from auricle.corpus.importing import import_corpus
from auricle.corpus.manifest import write_manifest
from auricle.corpus.sources import check_source, known_corpora, open_corpus
from auricle.corpus.storage import corpora_folder
from auricle.corpus.synth import synthesise
from auricle.corpus.types import Corpus, DefectiveCorpusError, Problem, Utterance

__all__ = [
    "Corpus",
    "DefectiveCorpusError",
    "Problem",
    "Utterance",
    "check",
    "check_source",
    "corpora_folder",
    "import_corpus",
    "known_corpora",
    "open_corpus",
    "synthesise",
    "write_manifest",
]
