"""Prompts: what a request becomes for BAGEL, as the published pipeline asks it."""

from __future__ import annotations

DRAWING = (
    "You should first think about the planning process in the mind and then generate the image. \n"
    "The planning process is enclosed within <think> </think> tags, "
    "i.e. <think> planning process here </think> image here"
)
"""What comes before a question that is thought about and then drawn."""
ANSWERING = (
    "You should first think about the reasoning process in the mind and then provide the user with the "
    "answer. \nThe reasoning process is enclosed within <think> </think> tags, "
    "i.e. <think> reasoning process here </think> answer here"
)
"""The same where the answer is words."""
