"""Who spoke when: an engine family of its own, merged with words."""
