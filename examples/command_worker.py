"""A worker: a model of your own behind two pipes. Copy it, and put your model into `answer`.

    unisandbox run --tasks math_1 --modes answer --models command:cmd=examples/command_worker.py

This one paints as many dots as the prompt's first number says, and counts them when it sees them.
"""

import json
import os
import random
import re
import sys
from typing import Any

from PIL import Image, ImageDraw

SPOTS = [(x, y) for y in range(32, 256, 64) for x in range(32, 256, 64)]
answers = os.fdopen(os.dup(1), "w")  # stdout is for answers alone,
os.dup2(2, 1)  # so whatever libraries print goes to the log


def say(**line: Any) -> None:
    print(json.dumps(line), file=answers, flush=True)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    turn = request["turns"][-1]
    number = min(int((re.findall(r"\d+", turn["text"]) or [1])[0]), len(SPOTS))
    for path in turn["images"]:
        seen = Image.open(path).convert("L").tobytes()
        number = sum(seen[256 * y + x] < 255 for x, y in SPOTS)
    if request["output"] == "text":
        return {"text": f"{number} dots"}
    picture = Image.new("RGB", (256, 256), "white")
    for x, y in random.Random(request["seed"]).sample(SPOTS, number):  # every random draw follows the seed
        ImageDraw.Draw(picture).ellipse((x - 24, y - 24, x + 24, y + 24), fill="teal")
    picture.save(request["save_as"])
    return {"image": request["save_as"], "thought": f"I see {number}." if request["think"] else None}


say(
    protocol=1,
    model="dots",
    does=["image", "text", "think", "see"],
    versions={"python": sys.version.split()[0]},
)
for line in sys.stdin:  # ends when UniSandbox has no more to ask
    request = json.loads(line)
    try:
        say(key=request["key"], **answer(request))
    except Exception as error:
        say(key=request["key"], error=f"{type(error).__name__}: {error}")
