"""Models in the format of transformers, read without transformers: folders with `config.json` and safetensors.

`folder.read_folder` is the way in; it gives what `auricle.fastconformer.archive` gives of a `.nemo` archive.
"""
