"""Write a training checkpoint as config.json and model.safetensors."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from model import Config, NemotronH, save_pretrained


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("checkpoint", type=Path)
    ap.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "model")
    args = ap.parse_args()

    saved = torch.load(args.checkpoint)
    weights = saved["average"]
    model = NemotronH(Config(vocab_size=weights["embeddings"].shape[0]))
    model.load_state_dict(weights)
    save_pretrained(model, args.out)
    print(f"step {saved['step']}, {saved['tokens']} tokens")


if __name__ == "__main__":
    main()
