"""Models: what is known of each, where it comes from, and where it lies on this machine."""
