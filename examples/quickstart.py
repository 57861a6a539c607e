"""A question, answered piece by piece: quickstart.py [model]."""

import sys

from tern import load, stream_generate
from tern.sample_utils import make_sampler

model, tokenizer = load(sys.argv[1] if len(sys.argv) > 1 else "demo")
prompt = tokenizer.apply_chat_template(
    [{"role": "user", "content": "Solve: 17 * 23"}], add_generation_prompt=True)

for response in stream_generate(model, tokenizer, prompt, max_tokens=512,
                                sampler=make_sampler(temp=0.6, top_p=0.95)):
    print(response.text, end="", flush=True)
print(f"\n{response.generation_tokens} tokens, {response.generation_tps:.1f} a second: "
      f"{response.finish_reason}")
