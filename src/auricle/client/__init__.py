"""Paced clients for servers of any make, reached over the wire alone, and the records of what came back."""
