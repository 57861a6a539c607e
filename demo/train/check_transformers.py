"""Compare the saved checkpoint's logits with transformers' NemotronH in fp32.

The reference implementation bounds the time step from below by `time_step_min`; the model is
defined without that bound (`time_step_limit` is [0, inf]), so it is lifted here.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from data import sample
from model import load_pretrained

MIX = {"thinking": 1, "direct": 1, "recall256": 1}


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--model", type=Path, default=Path(__file__).parent.parent / "model")
    ap.add_argument("--chats", type=int, default=6)
    ap.add_argument("--tolerance", type=float, default=1e-4, help="on the difference relative to the largest logit")
    args = ap.parse_args()

    tok = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    ours = load_pretrained(args.model)
    theirs = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    for module in theirs.modules():
        if hasattr(module, "time_step_limit"):
            module.time_step_limit = (0.0, float("inf"))
    rng = random.Random(3)
    worst = 0.0
    for _ in range(args.chats):
        text = "".join(t for t, _ in sample(rng, MIX).render())
        ids = torch.tensor([tok.encode(text, add_special_tokens=False).ids])
        with torch.no_grad():
            a, b = ours(ids), theirs(ids).logits
        error = ((a - b).abs().max() / b.abs().max()).item()
        worst = max(worst, error)
        print(f"{ids.shape[1]:5d} tokens  relative difference {error:.2e}")
    if worst > args.tolerance:
        raise SystemExit(f"logits differ by {worst:.2e}")


if __name__ == "__main__":
    main()
