"""``any-to-any``: models of the library transformers that read and draw with one set of weights.

These are Janus and Janus-Pro, and Emu3: of all that transformers 5.23 holds, only they put out pictures. None
of them thinks natively before it draws, so ``cot`` is two calls made by the harness.
"""
