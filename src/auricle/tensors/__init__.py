"""What networks of every family need: weights read without trusting the file, linear layers packed for the CPU."""
