"""Makes sampling.json: what transformers' logits processors leave of random logits.

    python3 tests/golden/sampling/make.py

Every case holds logits, a history and options; `ids` and `probabilities` are the tokens that may
be drawn, likeliest first, by transformers' processors in the order that generate() applies them.
Presence and frequency penalties have no processor there; they follow OpenAI's formula,
logit -= count * frequency + (count > 0) * presence, over the generated tokens.
"""

import datetime
import json
import pathlib
import random

import torch
import transformers
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

SEED = 20240711
VOCABULARY = 40
HISTORY = 30
GENERATED = 12

CASES = [
    {},
    {"temperature": 0.6, "top_p": 0.95},
    {"temperature": 1.7},
    {"top_k": 5},
    {"top_k": 2, "temperature": 0.3},
    {"top_p": 0.5},
    {"top_p": 0.01},
    {"min_p": 0.2},
    {"min_p": 0.05, "temperature": 2.0},
    {"top_k": 12, "top_p": 0.7, "min_p": 0.3, "temperature": 1.3},
    {"top_k": 8, "top_p": 0.9},
    {"top_k": 1000, "top_p": 0.8},
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.8, "repetition_window": 7},
    {"repetition_penalty": 1.2, "repetition_window": 20, "top_k": 10},
    {"presence_penalty": 1.5},
    {"frequency_penalty": 0.7},
    {"presence_penalty": -0.5, "frequency_penalty": 0.9, "repetition_window": 9},
    {"repetition_penalty": 1.5, "presence_penalty": 0.4, "frequency_penalty": 0.2, "top_p": 0.9},
    {"logit_bias": {"3": 4.0, "7": -100.0, "11": -3.5}, "top_p": 0.9},
    {"banned": [0, 1, 2, 39], "top_k": 20},
]


def expected(logits, history, options):
    scores = torch.tensor([logits], dtype=torch.float64)
    window = options.get("repetition_window", 0) or len(history)
    seen = history[-window:]
    sampled = history[len(history) - GENERATED :][-window:]
    if "repetition_penalty" in options:
        processor = RepetitionPenaltyLogitsProcessor(options["repetition_penalty"])
        scores = processor(torch.tensor([seen]), scores)
    for token in set(sampled):
        scores[0, token] -= options.get("presence_penalty", 0.0)
        scores[0, token] -= options.get("frequency_penalty", 0.0) * sampled.count(token)
    for token, value in options.get("logit_bias", {}).items():
        scores[0, int(token)] += value if value > -100 else float("-inf")
    for token in options.get("banned", []):
        scores[0, token] = float("-inf")
    warpers = []
    if "temperature" in options:
        warpers.append(TemperatureLogitsWarper(options["temperature"]))
    if "top_k" in options:
        warpers.append(TopKLogitsWarper(options["top_k"]))
    if "top_p" in options:
        warpers.append(TopPLogitsWarper(options["top_p"]))
    if "min_p" in options:
        warpers.append(MinPLogitsWarper(options["min_p"]))
    for warper in warpers:
        scores = warper(None, scores)
    probabilities = scores.softmax(-1)[0]
    order = sorted(range(len(logits)), key=lambda token: -probabilities[token].item())
    kept = [token for token in order if probabilities[token] > 0]
    return kept, [float(f"{probabilities[token].item():.9g}") for token in kept]


def main():
    rng = random.Random(SEED)
    cases = []
    for options in CASES:
        logits = [round(rng.gauss(0.0, 2.0), 3) for _ in range(VOCABULARY)]
        history = [rng.randrange(VOCABULARY) for _ in range(HISTORY)]
        ids, probabilities = expected(logits, history, options)
        cases.append(
            {
                "options": options,
                "logits": logits,
                "history": history,
                "generated": GENERATED,
                "ids": ids,
                "probabilities": probabilities,
            }
        )
    folder = pathlib.Path(__file__).parent
    lines = ",\n".join(json.dumps(case) for case in cases)
    (folder / "sampling.json").write_text(f"[\n{lines}\n]\n")
    manifest = {
        "command": "python3 tests/golden/sampling/make.py",
        "seed": SEED,
        "date": datetime.date.today().isoformat(),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "tolerance": "1e-6 relative: penalties are applied to float32 logits here, float64 there",
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


main()
