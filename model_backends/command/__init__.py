"""``command``: a program of one's own, in its own environment, spoken to in JSON lines."""
