"""Ask the held-out questions and score the answers.

Backends: `cli` runs `tern generate --json` once per question, `torch` runs the training code's
model with a recurrent decoder.  Scoring:

* arithmetic: the last number of the answer is the expected one;
* recall: the expected value occurs in the answer as a whole word;
* courtesy: the answer is the expected text.

In every category an answer only counts when it ended with the end-of-turn token.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from make_questions import CATEGORIES, QUESTIONS, ROOT, long_recall

LONG = {"recall_2048": (2048, 100), "recall_4096": (4096, 40)}


@dataclass
class Answer:
    content: str
    reasoning: str
    stopped: bool
    tokens: int


@dataclass
class Sampling:
    temperature: float
    top_p: float
    seed: int
    max_tokens: int


def correct(question: dict, answer: Answer) -> bool:
    if not answer.stopped:
        return False
    category, expected, content = question["category"], question["expected"], answer.content.strip()
    if category.startswith("recall"):
        return re.search(rf"(?<!\w){re.escape(expected)}(?!\w)", content) is not None
    if category == "courtesy":
        return content == expected
    numbers = re.findall(r"-?\d+", content.replace("- ", "  "))
    return bool(numbers) and numbers[-1] == expected


# ------------------------------------------------------------------------------------ backends


def ask_cli(binary: Path, model: str, questions: list[dict], sampling: Sampling) -> Iterator[Answer]:
    """One `tern generate` per question; the conversation goes in on standard input."""
    command = [
        str(binary), "generate", "-m", model, "--messages", "-", "--json",
        "--temp", str(sampling.temperature), "--top-p", str(sampling.top_p), "--top-k", "0",
        "--seed", str(sampling.seed), "--max-tokens", str(sampling.max_tokens),
    ]  # fmt: skip
    for q in questions:
        mode = "--think" if q["enable_thinking"] else "--no-think"
        done = subprocess.run(
            [*command, mode], input=json.dumps(q["messages"]), capture_output=True, text=True, check=True
        )
        out = json.loads(done.stdout)
        yield Answer(
            out["content"], out["reasoning"], out["finish_reason"] == "stop", out["usage"]["completion_tokens"]
        )


def render(messages: list[dict], thinking: bool) -> str:
    """The chat template for plain conversations, generation prompt included."""
    system, turns = "", messages
    if messages[0]["role"] == "system":
        system, turns = messages[0]["content"], messages[1:]
    text = f"<|im_start|>system\n{system}<|im_end|>\n"
    for m in turns:
        lead = "<think></think>" if m["role"] == "assistant" else ""
        text += f"<|im_start|>{m['role']}\n{lead}{m['content'].strip()}<|im_end|>\n"
    return text + "<|im_start|>assistant\n" + ("<think>\n" if thinking else "<think></think>")


class TorchBackend:
    def __init__(self, folder: Path, threads: int):
        import torch
        from model import load_pretrained
        from tokenizers import Tokenizer

        torch.set_num_threads(threads)
        self.torch = torch
        self.model = load_pretrained(folder)
        self.tok = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def prefill(self, prompt: str):
        ids = self.torch.tensor([self.tok.encode(prompt, add_special_tokens=False).ids])
        caches: list[dict] = [{} for _ in self.model.mixers]
        hidden = self.model.hidden(ids, caches)[:, -1:]
        return caches, hidden @ self.model.lm_head.t()

    def join(self, many: list[list[dict]], room: int) -> list[dict]:
        """Stack single caches; keys are padded to one length and masked."""
        torch = self.torch
        lengths = [next((c["k"].shape[2] for c in caches if "k" in c), 0) for caches in many]
        top = max(lengths)
        mask = torch.zeros(len(many), 1, 1, top + room, dtype=torch.bool)
        for i, n in enumerate(lengths):
            mask[i, ..., :n] = True
        mask[..., top:] = True
        out = []
        for layer in zip(*many):
            joined: dict = {}
            if "k" in layer[0]:
                for name in "kv":
                    joined[name] = torch.cat(
                        [torch.nn.functional.pad(c[name], (0, 0, 0, top - c[name].shape[2])) for c in layer]
                    )
                joined["full_mask"] = mask
            elif "ssm" in layer[0]:
                joined = {name: torch.cat([c[name] for c in layer]) for name in ("conv", "ssm")}
            out.append(joined)
        return out

    def pick(self, logits, sampling: Sampling, generator):
        torch = self.torch
        if sampling.temperature == 0:
            return logits.argmax(-1)
        p, order = (logits / sampling.temperature).softmax(-1).sort(-1, descending=True)
        p = p.masked_fill(p.cumsum(-1) - p >= sampling.top_p, 0)
        return order.gather(-1, torch.multinomial(p, 1, generator=generator)).squeeze(-1)

    def ask(self, questions: list[dict], sampling: Sampling, batch: int = 100) -> Iterator[Answer]:
        torch = self.torch
        generator = torch.Generator().manual_seed(sampling.seed)
        for start in range(0, len(questions), batch):
            part = questions[start : start + batch]
            with torch.no_grad():
                ready = [self.prefill(render(q["messages"], q["enable_thinking"])) for q in part]
                caches = self.join([c for c, _ in ready], sampling.max_tokens)
                logits = torch.cat([x for _, x in ready])[:, 0]
                tokens: list[list[int]] = [[] for _ in part]
                alive = [True] * len(part)
                for _ in range(sampling.max_tokens):
                    ids = self.pick(logits, sampling, generator)
                    for i, t in enumerate(ids.tolist()):
                        if alive[i]:
                            tokens[i].append(t)
                            alive[i] = t not in (2, 11)
                    if not any(alive):
                        break
                    for c in caches:
                        if "k" in c:
                            c["mask"] = c["full_mask"][..., : c["k"].shape[2] + 1]
                    logits = self.model(ids[:, None], caches)[:, 0]
            for q, out, open_ in zip(part, tokens, alive):
                text = self.tok.decode(out, skip_special_tokens=True)
                reasoning, content = "", text
                if q["enable_thinking"]:
                    reasoning, _, content = text.partition("</think>")
                yield Answer(content.strip(), reasoning.strip(), not open_, len(out))


# ---------------------------------------------------------------------------------------- main


def questions_of(category: str, folder: Path) -> list[dict]:
    if category in LONG:
        from tokenizers import Tokenizer

        tokens, count = LONG[category]
        return long_recall(tokens, count, Tokenizer.from_file(str(folder / "tokenizer.json")))
    with (QUESTIONS / f"{category}.jsonl").open() as f:
        return [json.loads(line) for line in f]


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--backend", choices=("cli", "torch"), default="cli")
    ap.add_argument("--tern", type=Path, default=ROOT.parent / "build/release/tern")
    ap.add_argument("-m", "--model", default="demo", help="model as the CLI takes it")
    ap.add_argument("--folder", type=Path, default=ROOT / "model", help="model folder (torch, tokenizer)")
    ap.add_argument("--categories", nargs="*", default=[*CATEGORIES, *LONG])
    ap.add_argument("--limit", type=int, help="questions per category")
    ap.add_argument("--temperature", type=float, default=0.0)
    ap.add_argument("--top-p", type=float, default=1.0)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--max-tokens", type=int, default=200)
    ap.add_argument("--threads", type=int, default=1)
    ap.add_argument("--show-errors", type=int, default=0, metavar="N", help="print N wrong answers per category")
    ap.add_argument("--json", type=Path, help="write the table here too")
    args = ap.parse_args()

    sampling = Sampling(args.temperature, args.top_p, args.seed, args.max_tokens)
    torch_backend = TorchBackend(args.folder, args.threads) if args.backend == "torch" else None
    table: dict[str, dict] = {}
    for category in args.categories:
        questions = questions_of(category, args.folder)[: args.limit]
        begun = time.time()
        if torch_backend:
            answers = torch_backend.ask(questions, sampling, batch=100 if category not in LONG else 20)
        else:
            answers = ask_cli(args.tern, args.model, questions, sampling)
        good = stopped = tokens = errors = 0
        for q, a in zip(questions, answers):
            right = correct(q, a)
            good += right
            stopped += a.stopped
            tokens += a.tokens
            if not right and errors < args.show_errors:
                errors += 1
                asked = q["messages"][-1]["content"][-200:]
                print(f"  {asked!r} expected {q['expected']!r}\n    {a.reasoning!r}\n    {a.content!r}", file=sys.stderr)
        n = len(questions)
        table[category] = {"questions": n, "correct": good, "accuracy": round(good / n, 4), "ended": stopped}
        print(
            f"{category:22s} {good:4d}/{n:<4d} {100 * good / n:6.1f} %  ended {stopped}/{n}"
            f"  {tokens / n:5.1f} tokens  {time.time() - begun:6.1f} s",
            flush=True,
        )
    if args.json:
        args.json.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
