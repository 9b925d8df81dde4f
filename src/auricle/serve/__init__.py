"""The server: files over HTTP, live streams over WebSocket in several dialects, from one engine."""
