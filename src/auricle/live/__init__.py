"""Live streams on one recogniser: buffers, ticks, admission, endpoints; independent of engines and of wire formats."""
