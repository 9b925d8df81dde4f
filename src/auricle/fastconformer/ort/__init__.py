"""The runtime in ONNX Runtime: the same streams and recordings, computed by the graphs that `export` wrote."""
