#!/usr/bin/env python3
"""Measures llama.cpp, through the llama-cpp-python package, as llama-bench does.

ppN reads a prompt of N tokens, tgN generates N tokens, each after `depth` tokens. One short
run to warm up, then the counted ones. Batch sizes are llama-bench's: 2048 tokens a call, 512 a step.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import json
import random
import re
import resource
import sys
import time

import llama_cpp


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


@llama_cpp.llama_log_callback
def be_quiet(level, text, user_data):
    if level == 4:  # errors
        sys.stderr.write(text.decode(errors="replace"))


class Peer:
    def __init__(self, path: str, threads: int, kv: str, context: int, repack: bool):
        llama_cpp.llama_log_set(be_quiet, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        started = time.perf_counter()
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = 0
        if hasattr(params, "use_extra_bufts"):
            params.use_extra_bufts = repack
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), params)
        if not self.model:
            raise SystemExit(f"llama.cpp cannot load {path}")
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = context
        settings.n_batch, settings.n_ubatch = 2048, 512
        settings.n_threads = settings.n_threads_batch = threads
        settings.type_k = settings.type_v = getattr(llama_cpp, f"GGML_TYPE_{kv.upper()}")
        if kv not in ("f16", "f32") and hasattr(settings, "flash_attn_type"):
            settings.flash_attn_type = 1  # quantized values need it
        self.context = llama_cpp.llama_init_from_model(self.model, settings)
        if not self.context:
            raise SystemExit("llama.cpp cannot make a context")
        self.load_seconds = time.perf_counter() - started
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.random = random.Random(1)

    def token(self) -> int:
        return self.random.randrange(min(1000, self.vocabulary // 2), self.vocabulary)

    def decode(self, count: int) -> None:
        tokens = (llama_cpp.llama_token * count)(*(self.token() for _ in range(count)))
        for begin in range(0, count, 2048):
            n = min(2048, count - begin)
            part = ctypes.cast(ctypes.byref(tokens, begin * 4), ctypes.POINTER(llama_cpp.llama_token))
            status = llama_cpp.llama_decode(self.context, llama_cpp.llama_batch_get_one(part, n))
            if status != 0:
                raise SystemExit(f"llama_decode returned {status}")
        llama_cpp.llama_synchronize(self.context)

    def measure(self, prompt: int, generate: int, depth: int) -> float:
        """Tokens a second of one run."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), False)
        if depth:
            self.decode(depth)
        started = time.perf_counter()
        if prompt:
            self.decode(prompt)
        for _ in range(generate):
            self.decode(1)
        return (prompt + generate) / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("-t", "--threads", type=int, required=True)
    parser.add_argument("-p", "--n-prompt", type=numbers, default=[512])
    parser.add_argument("-n", "--n-gen", type=numbers, default=[64])
    parser.add_argument("-d", "--n-depth", type=numbers, default=[0])
    parser.add_argument("-r", "--repetitions", type=int, default=5)
    parser.add_argument("--kv", default="f16")
    parser.add_argument("--no-repack", action="store_true", help="without AMX and repacked weights")
    options = parser.parse_args()

    longest = max(options.n_depth) + max(options.n_prompt + options.n_gen)
    peer = Peer(options.model, options.threads, options.kv, longest + 16, not options.no_repack)
    rows = []
    for depth in options.n_depth:
        tests = [(n, 0) for n in options.n_prompt if n] + [(0, n) for n in options.n_gen if n]
        for prompt, generate in tests:
            peer.measure(min(prompt, 512), min(generate, 16), 0)  # warms up
            runs = [peer.measure(prompt, generate, depth) for _ in range(options.repetitions)]
            rows.append({"n_prompt": prompt, "n_gen": generate, "n_depth": depth, "samples_ts": runs})
    system = llama_cpp.llama_print_system_info().decode()
    print(json.dumps({
        "version": f"llama-cpp-python {importlib.metadata.version('llama-cpp-python')}",
        "features": re.findall(r"(\w+) = 1", system),
        "load_s": peer.load_seconds,
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "tests": rows,
    }))


if __name__ == "__main__":
    main()
