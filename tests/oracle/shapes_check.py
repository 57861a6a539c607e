#!/usr/bin/env python3
"""Members of the family with other shapes, against mlx-lm's forward pass in float32.

Each shape is a tiny random model; tern must agree in the scalar and the fast form, and however the
prompt is cut: in one piece, in chunks of 64, 7 and 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

import mlx_model
import tern_cli
import tiny_model

BOUND = 1e-5
SMALL = {"hidden_size": 64, "head_dim": 16, "mamba_num_heads": 8, "mamba_head_dim": 8,
         "moe_intermediate_size": 48, "moe_shared_expert_intermediate_size": 80}
SHAPES = {
    "all kinds": {},
    "n_groups 1": {"n_groups": 1},
    "n_groups 8": {"n_groups": 8},
    "odd expert count": {"n_routed_experts": 7, "num_experts_per_tok": 3},
    "every expert": {"n_routed_experts": 3, "num_experts_per_tok": 3},
    "n_group 2": {"n_routed_experts": 8, "n_group": 2, "topk_group": 1},
    "n_group 4, topk_group 2": {"n_routed_experts": 12, "n_group": 4, "topk_group": 2,
                                "num_experts_per_tok": 3},
    "no shared expert": {"n_shared_experts": None},
    "shared expert though its count is 0": {"n_shared_experts": 0},
    "weights not normalised": {"norm_topk_prob": False, "routed_scaling_factor": 1.0},
    "one KV head": {"num_key_value_heads": 1},
    "all KV heads": {"num_key_value_heads": 4},
    "dense": {"hybrid_override_pattern": "M-M*-M-"},
    "attention first": {"hybrid_override_pattern": "*M*M"},
    "state 16, long heads": {"ssm_state_size": 16, "mamba_num_heads": 4, "mamba_head_dim": 24,
                             "n_groups": 4},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tern", required=True, help="the program")
    options = parser.parse_args()
    report = tern_cli.Report()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokens, out = folder / "tokens.json", folder / "out.npy"
        for seed, (label, changes) in enumerate(SHAPES.items()):
            config = tiny_model.make_config(**{**SMALL, **changes})
            model = tiny_model.save(folder / "model", config, tiny_model.make_tensors(config, seed))
            ids = np.random.default_rng(seed).integers(0, config["vocab_size"], 150).tolist()
            tokens.write_text(json.dumps(ids))
            expected = mlx_model.logits(model, ids).astype(np.float64)
            for isa, chunk in (("scalar", 512), ("", 512), ("", 64), ("", 7), ("", 1)):
                report.compare(
                    f"{label} [{isa or 'best'}, chunk {chunk}]",
                    expected,
                    BOUND,
                    lambda: tern_cli.logits(
                        options.tern, model, tokens, out, isa, "--chunk", str(chunk)
                    ),
                )
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
