"""Live streams on an accelerator: one step is one fixed sequence of operations, so that it can be a CUDA graph."""
