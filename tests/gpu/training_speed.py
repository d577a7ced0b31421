"""Steps per second of both embedded networks' training, at once as a long run would do it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from fgq_bench.models.training.tiny_models import TINY_MODELS
from fgq_bench.models.training.trainer import Trainer

SECONDS = 15.0  # of steps, after the first ones
NETWORKS = ("vggt-tiny.v2", "pi3-tiny.v2")


def measure(name: str) -> None:
    """Print one JSON object: rate and sizes, of steps that follow those which capture and warm up."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer = Trainer(TINY_MODELS[name], 0, device, Path(tempfile.mkdtemp()), workers=7 if device.type == "cuda" else 0)
    began = time.monotonic()
    for _ in range(10):
        row = trainer.train_step()
    first, start, steps = time.monotonic() - began, time.monotonic(), trainer.step
    while time.monotonic() - start < SECONDS:
        row = trainer.train_step()
    rate = (trainer.step - steps) / (time.monotonic() - start)
    batch = trainer.recipe[0].batch
    print(
        json.dumps(
            {
                "network": name,
                "device": str(device),
                "steps_per_s": rate,
                "sequences_per_s": rate * batch,
                "first_steps_s": first,
                "loss": row["loss"],
            }
        )
    )


def main() -> None:
    """Both networks in a process each; their lines also go to ``training.json`` in the folder given."""
    if sys.argv[1] in NETWORKS:
        return measure(sys.argv[1])
    children = [
        subprocess.Popen([sys.executable, "-m", "tests.gpu.training_speed", name], stdout=subprocess.PIPE, text=True)
        for name in NETWORKS
    ]
    lines = [json.loads(child.communicate()[0].splitlines()[-1]) for child in children]
    for line in lines:
        print(line)
    (Path(sys.argv[1]) / "training.json").write_text(json.dumps(lines, indent=1))


if __name__ == "__main__":
    main()
