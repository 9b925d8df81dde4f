"""Any container, codec or raw PCM to float32 mono at the rate asked for, and back to files."""

from auricle.audio.container import probe
from auricle.audio.decode import blocks, load
from auricle.audio.pcm import PcmDecoder
from auricle.audio.split import split_at_silence
from auricle.audio.types import SAMPLE_RATE, Audio, AudioInfo, Encoding, PcmFormat
from auricle.audio.write import save

__all__ = [
    "SAMPLE_RATE",
    "Audio",
    "AudioInfo",
    "Encoding",
    "PcmDecoder",
    "PcmFormat",
    "blocks",
    "load",
    "probe",
    "save",
    "split_at_silence",
]
