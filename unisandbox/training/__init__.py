"""Teaching models: STARS, curriculum learning, knowledge injection."""
