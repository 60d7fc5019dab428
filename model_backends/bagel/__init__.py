"""``bagel``: BAGEL (arXiv 2505.14683) in this process: reads, thinks and draws with one set of weights.

Written from the paper and from the code of its authors (github.com/ByteDance-Seed/Bagel, Apache-2.0), on the
parts that torch, transformers and diffusers have. The files, from the bottom up: ``config`` (sizes),
``language`` (the mixture of transformers), ``vision``, ``autoencoder``, ``model`` (all parts; what becomes of
text, pictures and noise), ``context`` (what was read so far), ``sampler`` (rectified flow), ``quantize``,
``devices`` (where weights lie), ``checkpoint``, ``prompts``, ``backend``.
"""
