"""``tiny``: one small transformer that reads, writes, draws and captions in the sandbox's own language."""
