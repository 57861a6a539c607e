"""Writes what Hugging Face's tokenizers makes of many texts, for src/text/*_golden_test.cpp.

    python3 tests/golden/tokenizer/make.py TOKENIZER_JSON

needs tokenizers from PyPI and the tokenizer.json of the model. Files:
    chunks.txt      seed, then hashes (FNV-1a, 64 bits) of the text, of its ids, and of its ids when
                    added tokens are ignored, for each generated chunk
    cases.json      readable texts with their ids
    small.json      a small tokenizer, trained here
    variants.json   changes to small.json, each with texts and ids
    patterns.json   expressions, behaviours and texts with the pieces that Split makes
    unicode.txt     for each property of code points: how many have it, and a hash of them
    manifest.json   command, versions, seed, date, hashes
"""

import copy
import datetime
import hashlib
import importlib.metadata
import json
import pathlib
import struct
import sys

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from text_generator import Generator

HERE = pathlib.Path(__file__).parent
SEED = 20261123
CHUNKS, CHUNK_BYTES = 680, 8192
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
          r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|"
          r"\s*[\r\n]|\s+(?!\S)|\s+")
DEEPSEEK = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"
            r" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

CASES = """
Hello, my name is|helloWorld|HTTPServer2Go|don't DON'T I'll we've|snake_case_name|a/b//c\\n/d
1234567890|3.14159e-10|  leading|trailing  |a  b   c|tab\\tand\\r\\nlines\\n\\n\\nend| \\n \\r\\n \\t
naïve café|cafe\\u0301 e\\u0301\\u0301|ÀÉÎ|straße STRASSE|Ǆǅǆ|ʰʱ|Ⅷ²①٣|漢字かな交じり文|한국어 문장|العربية|עברית
हिन्दी में|ไทยไม่มีช่องว่าง|Ελληνικά ΣΊΣΥΦΟΣ|Привет, МИР|👩‍👩‍👧‍👦 👍🏽 🇩🇪🇫🇷 ❤️|\\u00a0\\u3000\\u2003x|\\u0085\\u2028\\u2029x
\\u200b\\u200c\\u200d\\ufeff|\\u0000\\u0001\\u001b[31m|<think>ok</think>|<|im_start|>user\\n<|im_end|>|<|im_start|<|im_end|>>
<SPECIAL_30><SPECIAL_300><SPECIAL_3000>|<tool_call>\\n<function=f>|[INST] [/INST]|<s></s><unk>|<image 1><image>
def f(x):\\n    return x**2  # ok\\n|{"a": [1, 2, {"b": null}]}|https://example.org/a?b=c&d=%20|x\\u0301\\u0302\\u0303y
\U00016d43\U0001cc00\U00016130|\U0010ffff\U000e0001|ſ 'ſ K|...!!!???|\\"quoted\\" 'single'|$100 €5 £3|C++ C# F#|->=>==
"""


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & (1 << 64) - 1
    return f"{value:016x}"


def hash_ids(ids):
    return fnv(struct.pack(f"<{len(ids)}I", *ids))


def ids_of(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False).ids


def write(name, value):
    lines = ",\n".join(json.dumps(entry) for entry in value)
    (HERE / name).write_text("[\n" + lines + "\n]\n")


def make_chunks(tokenizer, plain, generator):
    lines = []
    for index in range(CHUNKS):
        text = generator.chunk(SEED + index, CHUNK_BYTES)
        hashes = [fnv(text.encode()), hash_ids(ids_of(tokenizer, text)), hash_ids(ids_of(plain, text))]
        lines.append(" ".join([str(SEED + index), *hashes]))
    (HERE / "chunks.txt").write_text("\n".join(lines) + "\n")


def case_texts():
    for line in CASES.strip().split("\n"):
        for text in line.split("|"):
            yield text.encode("latin-1", "backslashreplace").decode("unicode_escape")
    for text in ("<|im_start|>user\nHi<|im_end|>\n", "<|im_start|<|im_end|>>", "a|b"):
        yield text


def make_small(generator):
    """Byte-level BPE with 256 bytes and 300 merges, so that merging matters."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=556, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  special_tokens=["<s>", "<end>"])
    tokenizer.train_from_iterator((generator.chunk(i, 4096) for i in range(40)), trainer)
    text = json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False)
    (HERE / "small.json").write_text(text + "\n", encoding="utf-8")
    return json.loads(text)


def split(expression, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": expression}, "behavior": behavior, "invert": invert}


def sequence(*stages, prefix=False):
    last = {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": [*stages, last]}


def added(number, content, **flags):
    base = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": True}
    return {"id": number, "content": content, **base, **flags}


def variants(small):
    """Changes of top-level fields, with a name; "model" changes fields of the model."""
    size = max(small["model"]["vocab"].values()) + 1
    base = small["added_tokens"]
    yield "as it is", {}
    yield "merges ignored", {"model": {"ignore_merges": True}}
    yield "merges as strings", {"model": {"merges": [" ".join(m) for m in small["model"]["merges"]]}}
    yield "prefix space", {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True,
                                             "trim_offsets": True, "use_regex": True}}
    yield "no expression", {"pre_tokenizer": sequence()}
    for name, expression in (("tekken", TEKKEN), ("llama3", LLAMA3), ("qwen2", QWEN2),
                             ("cl100k", CL100K), ("deepseek", DEEPSEEK)):
        yield name, {"pre_tokenizer": sequence(split(expression))}
    for behavior in ("Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        yield behavior, {"pre_tokenizer": sequence(split(r"\s+", behavior))}
    yield "inverted", {"pre_tokenizer": sequence(split(r"\p{L}+", "Removed", True))}
    yield "literal", {"pre_tokenizer": sequence({"type": "Split", "pattern": {"String": "a."},
                                                 "behavior": "Isolated", "invert": False})}
    yield "digits", {"pre_tokenizer": sequence({"type": "Digits", "individual_digits": True})}
    yield "digit runs", {"pre_tokenizer": sequence({"type": "Digits", "individual_digits": False},
                                                   split(r" ?\p{L}+"), prefix=True)}
    yield "NFC", {"normalizer": {"type": "NFC"},
                  "added_tokens": [*base, added(size, "e\u0301t", normalized=True),
                                   added(size + 1, "e\u0301x")]}
    yield "stripping", {"added_tokens": [*base, added(size, "<l>", lstrip=True),
                                         added(size + 1, "<r>", rstrip=True),
                                         added(size + 2, "<b>", lstrip=True, rstrip=True)]}
    yield "single words", {"added_tokens": [*base, added(size, "word", single_word=True),
                                            added(size + 1, "wordy"), added(size + 2, "wor")]}
    yield "rounds", {"added_tokens": [*base, added(size, "abc", normalized=True),
                                      added(size + 1, "bcd"), added(size + 2, "ab", special=False)]}
    yield "template", {"post_processor": {
        "type": "TemplateProcessing", "special_tokens": {"<s>": {"id": "<s>", "ids": [0],
                                                                 "tokens": ["<s>"]}},
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}]}}


VARIANT_TEXTS = [
    "Hello world", "  two  spaces ", "don't I'LL", "a.b a. a", "e\u0301tude e\u0301x \u00e9t", "12 345a6",
    "x <l> y <r>  z\t<b>\n<b> <l><r> w", "word words aword word-word wordy wor _word \u0301word",
    "abcd ab abcabcd", "<s>hi<end>", "tab\t\r\n nbsp\u00a0 \u3000wide", "漢字 ไทย 👍🏽", "q\u0323\u0307 q\u0307\u0323",
    "helloWorld XMLHttp", "///\n//", "",
]


def make_variants(small, generator):
    out = []
    for name, change in variants(small):
        changed = copy.deepcopy(small)
        for key, value in change.items():
            if key == "model":
                changed["model"].update(value)
            else:
                changed[key] = value
        tokenizer = Tokenizer.from_str(json.dumps(changed))
        texts = VARIANT_TEXTS + [generator.chunk(77, 120)]
        out.append({"name": name, "change": change,
                    "cases": [[text, ids_of(tokenizer, text)] for text in texts]})
    merges = out[2]["change"]["model"]["merges"]
    assert out[2]["name"] == "merges as strings" and merges
    out[2]["change"]["model"]["merges"] = "as strings"  # the test builds them
    write("variants.json", out)


EXPRESSIONS = [
    TEKKEN, LLAMA3, QWEN2, GPT2, CL100K, DEEPSEEK, r"\s+", r"a*?b", r"(a|ab)(c|bcd)?", r"x*", r"^a|b$",
    r"\Aab|c\z", r"(?i:straSSe|k)", r"(?i)hello|WORLD", r"[a-cx-z]+", r"[^a-c\s]+", r"[a-z&&[^m-p]]+",
    r"[\p{L}&&\p{Lu}]+", r"\P{L}+", r"\p{^L}+", r"\w+|\W", r"\d{2,3}", r"\d{2,3}?", r"a{,2}b", r"(ab){2}",
    r"\p{N}{1,3}", r"a++b|a", r"a?+ab", r"b*+b|b", r"(?=ab)a|b", r"(?!ab)a|b",
    r"(?<=a)b", r"(?<!a)b", r"(?<=\n)\s", r"\x41|\u0042|\x{43}", r"[\]\-a]+", r"[]a]+", r"{|}", r"a{x", r".",
    r"(?:)|a", r"(a*)*b|a", r"(a|b|ab)*c", r"a**", r"(?:a?){3}b", r"\s+(?!\S)|\s+", r"(?-i:a)|(?i:b(?-i:c))",
    r"\r\n|\n", r"[\r\n/]*x", r"'(?:s|t)", r"(?=ab|c)[abc]", r"\p{Lu}\p{Ll}*", r"(?i:[^s])", r"(?i:\p{Lu})+",
    r"\S+\s?", r"a+?", r"(?:a+b?)+?c", r"[a\s&&\s]+", r"\.|\*", r"(?:(?:a|b)*,)+",
]
PATTERN_TEXTS = ["", "aab abc a\nb\r\nc", "aaaa", "helloWorld don't KkK sStraße", "12 345 6789", "xx{a{x}} a-]b",
                 " \n a  b\u00a0", "ab,ba,c aac abcabc", "ABC 漢字 e\u0301 ſK"]


def make_patterns():
    out = []
    behaviors = ["isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous"]
    for number, expression in enumerate(EXPRESSIONS):
        behavior = behaviors[number % 5] if number % 3 == 0 else "isolated"
        invert = number % 7 == 0
        splitter = pre_tokenizers.Split(Regex(expression), behavior, invert=invert)
        cases = [[text, [piece for piece, _ in splitter.pre_tokenize_str(text)]]
                 for text in PATTERN_TEXTS]
        out.append({"expression": expression, "behavior": behavior, "invert": invert, "cases": cases})
    write("patterns.json", out)


PROPERTIES = [r"\p{%s}" % name for name in
              ("L LC M N P S Z C Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp "
               "Cc Cf Co Cn").split()] + [r"\s", r"\d", r"\w", "(?i:[a-z])", "(?i:[à-þα-ωа-я])"]


def make_unicode():
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    text = "".join(map(chr, codes))
    lines = []
    for expression in PROPERTIES:
        left = pre_tokenizers.Split(Regex(expression), "removed").pre_tokenize_str(text)
        members, end = [], 0
        for _, (begin, stop) in [*left, (None, (len(codes), None))]:
            members += codes[end:begin]
            end = stop
        packed = struct.pack(f"<{len(members)}I", *members)
        lines.append(f"{expression} {len(members)} {fnv(packed)}")
    (HERE / "unicode.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main():
    path = pathlib.Path(sys.argv[1])
    tokenizer = Tokenizer.from_file(str(path))
    description = json.loads(path.read_text(encoding="utf-8"))
    description["added_tokens"] = []
    plain = Tokenizer.from_str(json.dumps(description))
    generator = Generator()

    make_chunks(tokenizer, plain, generator)
    write("cases.json", [[text, ids_of(tokenizer, text)] for text in case_texts()])
    make_variants(make_small(generator), generator)
    make_patterns()
    make_unicode()
    files = ["chunks.txt", "cases.json", "small.json", "variants.json", "patterns.json", "unicode.txt"]
    manifest = {
        "command": "python3 tests/golden/tokenizer/make.py TOKENIZER_JSON",
        "tokenizer_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "versions": {"tokenizers": importlib.metadata.version("tokenizers")},
        "seed": SEED,
        "date": datetime.date.today().isoformat(),
        "files": {name: hashlib.sha256((HERE / name).read_bytes()).hexdigest() for name in files},
    }
    (HERE / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
