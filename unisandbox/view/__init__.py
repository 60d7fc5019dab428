"""The viewer: a local server for looking at runs, comparing them, and labelling their pictures."""
