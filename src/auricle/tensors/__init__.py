"""What networks of every family need: weights read without trusting their file, and linear layers packed for the CPU."""
