"""Cache-aware live recognition: many streams advanced in one step, each in a slot that holds its state."""
