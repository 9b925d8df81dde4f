"""The sherpa-onnx engine: transducer, CTC, Whisper and SenseVoice graphs from a local folder, for files and live.

The library ends its process on a graph it does not like and falls back from CUDA to the CPU without an error. So the
folder is read and checked first (`layout`, `kinds`, `model`), the library runs in a child process (`service`), and what
it prints there is heeded.
"""

from auricle.engines.sherpa.engine import ENGINE

__all__ = ["ENGINE"]
