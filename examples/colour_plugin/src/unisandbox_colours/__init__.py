"""A complete UniSandbox plugin."""
