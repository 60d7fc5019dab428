"""``tiny``: a small unified multimodal model that reads, writes and draws the sandbox's language.

One decoder-only transformer over one vocabulary of words and image patches, trained by ``train.py`` from
nothing on text, on pictures of *resolved* prompts and on captions, never on a reasoning question with its
picture. What it does with one is therefore its own doing.
"""
