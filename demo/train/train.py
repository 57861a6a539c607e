"""Train the demo model on generated chats (CPU).

Matrices are optimised with Muon, everything else with AdamW.  The learning rate is constant
after a warm-up and falls linearly to zero over the last part of the run.  Stages (token share,
mixture, batch size) are read from a JSON file so that a run can be continued with another plan.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from data import Chat, sample
from evaluation import exact_match
from model import Config, MoE, NemotronH, save_pretrained

PAD = 0


def encode(tok: Tokenizer, chat: Chat) -> tuple[list[int], list[bool]]:
    """Token ids and the mask of trained tokens."""
    ids: list[int] = []
    mask: list[bool] = []
    for text, trained in chat.render():
        piece = tok.encode(text, add_special_tokens=False).ids
        ids += piece
        mask += [trained] * len(piece)
    return ids, mask


class Batches:
    """Fresh chats in micro-batches of a fixed number of rows per width.

    Chats wait in a bucket for their width until it is full, so that few distinct shapes occur.
    """

    def __init__(self, tok: Tokenizer, rng: random.Random, micro: int):
        self.tok, self.rng, self.micro = tok, rng, micro
        self.waiting: dict[int, list] = {}

    def draw(self, mix: dict, tokens: int) -> list[tuple[Tensor, Tensor]]:
        """Micro-batches with at least `tokens` tokens in total."""
        out, total = [], 0
        while total < tokens:
            row = encode(self.tok, sample(self.rng, mix))
            need = len(row[0]) - 1
            unit = 16 if need <= 160 else 32 if need <= 256 else 64 if need <= 512 else 256
            width = -(-need // unit) * unit
            bucket = self.waiting.setdefault(width, [])
            bucket.append(row)
            if len(bucket) >= max(1, self.micro // width):
                out.append(pack(self.waiting.pop(width), width + 1))
                total += out[-1][0].numel()
        return out


def pack(rows: list, width: int) -> tuple[Tensor, Tensor]:
    ids = torch.full((len(rows), width), PAD)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, (row, m) in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(m)] = torch.tensor(m)
    return ids, mask


def orthogonalize(g: Tensor, steps: int = 4) -> Tensor:
    """Newton-Schulz iteration towards the nearest semi-orthogonal matrix (batched)."""
    x = g.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.float().norm(dim=(-2, -1), keepdim=True) + 1e-7).bfloat16()
    for _ in range(steps):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return (x.mT if tall else x).float()


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalised updates; 3-D parameters are stacks of matrices."""

    def __init__(self, params, lr: float, momentum: float = 0.95, weight_decay: float = 0.05):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(p)
                buf = state["momentum"]
                buf.lerp_(p.grad, 1 - group["momentum"])
                update = orthogonalize(p.grad.lerp(buf, group["momentum"]))
                scale = max(1.0, p.shape[-2] / p.shape[-1]) ** 0.5
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * scale)


def optimizers(model: NemotronH, muon_lr: float, adam_lr: float) -> list[torch.optim.Optimizer]:
    special = ("embeddings", "lm_head", "gate", "conv_weight")
    matrices, rest, plain = [], [], []
    for name, p in model.named_parameters():
        if p.ndim >= 2 and not name.endswith(special):
            matrices.append(p)
        elif p.ndim >= 2:
            rest.append(p)
        else:
            plain.append(p)
    adam = torch.optim.AdamW(
        [{"params": rest, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}],
        lr=adam_lr,
        betas=(0.9, 0.98),
        eps=1e-9,
        fused=True,
    )
    return [Muon(matrices, muon_lr), adam]


def balance(model: NemotronH, rate: float) -> float:
    """Move the routing biases against the load; returns the worst relative load."""
    worst = 0.0
    for m in model.mixers:
        if isinstance(m, MoE):
            share = m.load / m.load.mean().clamp(min=1)
            worst = max(worst, share.max().item())
            m.score_bias += rate * (1 - share).clamp(min=-1)
            m.load.zero_()
    return worst


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--model", type=Path, default=Path(__file__).parent.parent / "model", help="tokenizer folder")
    ap.add_argument("--work", type=Path, required=True, help="folder for checkpoints")
    ap.add_argument("--plan", type=Path, default=Path(__file__).with_name("plan.json"))
    ap.add_argument("--resume", type=Path, help="checkpoint to continue from")
    ap.add_argument("--log", type=Path, default=Path(__file__).with_name("log.jsonl"))
    ap.add_argument("--minutes", type=float, required=True, help="length of this run; sets the decay")
    ap.add_argument("--decay", type=float, default=0.0, help="share of the run spent decaying to zero")
    ap.add_argument("--warmup", type=int, default=60, help="warm-up steps")
    ap.add_argument("--muon-lr", type=float, default=0.02)
    ap.add_argument("--adam-lr", type=float, default=3e-3)
    ap.add_argument("--averaging", type=float, default=0.985, help="decay of the weight average")
    ap.add_argument("--micro", type=int, default=2048, help="tokens of one micro-batch")
    ap.add_argument("--threads", type=int, default=1)
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    tok = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    model = NemotronH(Config(vocab_size=tok.get_vocab_size()))
    opts = optimizers(model, args.muon_lr, args.adam_lr)
    step = tokens = 0
    if args.resume:
        saved = torch.load(args.resume)
        model.load_state_dict(saved["model"])
        for opt, state in zip(opts, saved["optimizers"]):
            opt.load_state_dict(state)
        step, tokens = saved["step"], saved["tokens"]
    for opt, lr in zip(opts, (args.muon_lr, args.adam_lr)):
        for group in opt.param_groups:
            group["base_lr"] = lr
    average = NemotronH(model.cfg)
    average.load_state_dict(saved.get("average", saved["model"]) if args.resume else model.state_dict())
    source = Batches(tok, random.Random(f"{args.seed}-{step}"), args.micro)
    plan = json.loads(args.plan.read_text())
    args.work.mkdir(parents=True, exist_ok=True)
    start, first_step, last_save, window = time.time(), step, time.time(), []

    while True:
        progress = (time.time() - start) / (args.minutes * 60)
        if progress >= 1:
            break
        stage = next((s for s in plan if tokens < s["until"]), plan[-1])
        warm = min(1.0, (step - first_step + 1) / max(1, args.warmup))
        fade = min(1.0, (1 - progress) / args.decay) if args.decay else 1.0
        for opt in opts:
            for group in opt.param_groups:
                group["lr"] = group["base_lr"] * warm * fade
        model.train()
        batches = source.draw(stage["mix"], stage["tokens"])
        targets = sum(int(mask[:, 1:].sum()) for _, mask in batches)
        loss_sum, hits = 0.0, 0
        for ids, mask in batches:
            with torch.autocast("cpu", torch.bfloat16):
                losses, right = model.loss(ids, mask)
            loss = losses.sum()
            (loss / targets).backward()
            loss_sum += loss.item()
            hits += int(right.sum())
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item()
        for opt in opts:
            opt.step()
            opt.zero_grad()
        worst = balance(model, 0.005 * fade)
        follow(average, model, args.averaging)
        step += 1
        tokens += sum(ids.numel() for ids, _ in batches)
        window.append((loss_sum / targets, hits / targets, norm, worst))

        if step % 50 == 0:
            mean = [sum(c) / len(c) for c in zip(*window)]
            window = []
            entry = {
                "step": step,
                "tokens": tokens,
                "minutes": round((time.time() - start) / 60, 2),
                "loss": round(mean[0], 4),
                "accuracy": round(mean[1], 4),
                "grad_norm": round(mean[2], 3),
                "max_load": round(mean[3], 2),
                "lr": round(opts[0].param_groups[0]["lr"], 5),
            }
            if step % 200 == 0:
                entry["exact"] = exact_match(average, tok, 32)
            with args.log.open("a") as f:
                f.write(json.dumps(entry) + "\n")
            print(json.dumps(entry), flush=True)
        if not math.isfinite(loss_sum):
            raise SystemExit("loss is not finite")
        if time.time() - last_save > 240:
            save(args.work / "last.pt", model, average, opts, step, tokens)
            last_save = time.time()
    save(args.work / "last.pt", model, average, opts, step, tokens)
    save_pretrained(average, args.work / "export")


@torch.no_grad()
def follow(average: NemotronH, model: NemotronH, keep: float) -> None:
    """Exponential moving average of the weights and the routing biases; it is what gets exported."""
    for a, m in zip(average.state_dict().values(), model.state_dict().values()):
        a.lerp_(m, 1 - keep)


def save(path: Path, model: NemotronH, average: NemotronH, opts: list, step: int, tokens: int) -> None:
    part = path.with_suffix(".partial")
    torch.save(
        {
            "model": model.state_dict(),
            "average": average.state_dict(),
            "optimizers": [o.state_dict() for o in opts],
            "step": step,
            "tokens": tokens,
        },
        part,
    )
    part.rename(path)


if __name__ == "__main__":
    main()
