"""Recognition engines: the contract they keep, the registry that finds them, and the engines of this package."""
