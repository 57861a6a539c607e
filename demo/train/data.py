"""Text generator for the demo model: arithmetic, recall and a few courtesies, as chats.

Every sample is a `Chat`: messages plus the thinking switch.  `Chat.render` writes the exact bytes
of the family's chat template and marks which assistant turns are trained on.  Problems whose
operands fall into the held-out share (`held_out`) never appear in training.
"""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass

HELD_OUT_SHARE = 12  # percent

NAMES = (
    "Anna Ben Carla David Emma Felix Grace Henry Iris Jack Kate Leo Maria Nina Oscar Paula Rosa Sam "
    "Tom Vera Will Zoe Alice Bob Tim Lucy Mia Noah Olga Peter Ruth Simon"
).split()
OBJECTS = (
    "apples pears books coins stamps marbles cards pens eggs stones cookies tickets shells buttons "
    "pencils oranges balls flowers boxes cups"
).split()
THINGS = (
    "amber anchor apple arrow badge basket beacon bell bottle branch bridge button cabin camera candle "
    "canyon castle circle cloud copper coral crystal desert diamond dragon eagle engine falcon feather "
    "forest fossil fountain garden garnet ginger glacier granite hammer harbor island ivory jacket jasper "
    "jungle kettle ladder lantern lemon lily magnet maple marble meadow mirror moon mountain needle ocean "
    "olive onyx opal orchid otter palace panda paper pearl pepper pillow planet prism quartz rabbit "
    "raven ribbon river rocket ruby saddle saffron sapphire shadow silver spider spruce star storm sugar "
    "sunset temple thunder tiger topaz tower tulip tunnel turtle valley velvet violet walnut willow window "
    "winter wolf zebra"
).split()
COLORS = "red blue green yellow black white orange purple pink brown gray silver golden".split()
ANIMALS = "cat dog horse fox owl bear wolf rabbit duck goose mouse frog snake lion tiger panda".split()
CITIES = (
    "Paris London Berlin Rome Madrid Vienna Oslo Lisbon Prague Dublin Athens Warsaw Cairo Tokyo Lima Boston"
).split()
FOODS = "bread soup rice pasta cheese salad cake pizza fish honey beans corn".split()
JOBS = "doctor teacher farmer baker pilot painter driver writer lawyer singer nurse cook".split()
PLACES = "kitchen garden office library garage attic cellar school museum station market park".split()
SYLLABLES = (
    "ba be bo da de di do fa fi ga go ka ki ko la le li lo ma me mi mo na ne ni no pa pi po ra re ri ro "
    "sa se si so ta te ti to va ve vi vo za zu"
).split()

FILLER_SUBJECTS = (
    "The old man;A small bird;The river;My neighbor;The wind;A young woman;The train;The teacher;Our team;"
    "The children;The market;A quiet street;The morning light;The shop on the corner;The road to the north;"
    "An empty boat;The gardener;The long winter;The library;A group of friends;The sky;The village;"
    "The captain;The clock on the wall"
).split(";")
FILLER_VERBS = (
    "walked slowly past;looked over;was close to;waited near;moved along;turned toward;could be seen from;"
    "stood behind;came back to;was painted like;ran across;changed with;sounded like;kept watch over;"
    "rested beside;was much older than"
).split(";")
FILLER_OBJECTS = (
    "the hills;the water;a row of houses;the open field;the stone wall;the bridge;an old tree;the harbor;"
    "the busy square;a narrow path;the last lamp;the tall grass;the station;the mountains;a closed door;"
    "the evening sun;the garden;the first snow;a field of corn;the lighthouse"
).split(";")
FILLER_TAILS = (
    "; in the early morning; after the rain; without a sound; for a long time; as always; before noon;"
    " while people talked; at the end of the day; and nobody noticed; on that cold day; again and again"
).split(";")

SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a careful calculator.",
    "Answer briefly.",
    "You are tern, a tiny demonstration model.",
    "You are a friendly assistant. Keep answers short.",
    "Be concise and correct.",
    "You help with numbers and facts.",
)


def held_out(op: str, a: int, b: int) -> bool:
    """Whether the problem `a op b` is reserved for evaluation (order does not matter for + and *).

    Products with a multiple of ten are never reserved: they occur as steps of other products.
    """
    if op == "*" and (a % 10 == 0 or b % 10 == 0):
        return False
    if op in "+*" and a > b:
        a, b = b, a
    return zlib.crc32(f"{a}{op}{b}".encode()) % 100 < HELD_OUT_SHARE


@dataclass
class Turn:
    user: str
    answer: str
    reasoning: str | None = None
    train: bool = True


@dataclass
class Chat:
    turns: list[Turn]
    thinking: bool
    system: str = ""
    history_newline: bool = False

    def messages(self) -> list[dict]:
        """The request messages, that is everything before the last answer."""
        out = [{"role": "system", "content": self.system}] if self.system else []
        for i, t in enumerate(self.turns):
            out.append({"role": "user", "content": t.user})
            if i + 1 < len(self.turns):
                out.append({"role": "assistant", "content": t.answer})
        return out

    def render(self) -> list[tuple[str, bool]]:
        """(text, trained) pieces whose concatenation is the whole conversation."""
        parts: list[tuple[str, bool]] = []
        text = f"<|im_start|>system\n{self.system}<|im_end|>\n"
        for i, t in enumerate(self.turns):
            last = i + 1 == len(self.turns)
            text += f"<|im_start|>user\n{t.user}<|im_end|>\n<|im_start|>assistant\n"
            if last and self.thinking:
                text += "<think>\n"
                target = f"{t.reasoning}\n</think>\n{t.answer}<|im_end|>"
            else:
                text += "<think></think>"
                if self.history_newline and not last:
                    text += "\n"
                target = f"{t.answer}<|im_end|>"
            parts += [(text, False), (target, t.train)]
            text = "\n"
        return parts


# --------------------------------------------------------------------------------- arithmetic


def number(rng: random.Random, digits: int) -> int:
    return rng.randint(10 ** (digits - 1) if digits > 1 else 0, 10**digits - 1)


def operands(rng: random.Random, op: str, da: int, db: int, test: bool) -> tuple[int, int]:
    """Draw operands on the wanted side of the held-out split."""
    while True:
        a, b = number(rng, da), number(rng, db)
        if op == "-" and a < b and (test or rng.random() < 0.9):
            a, b = b, a
        if (da == 1 and db == 1) or held_out(op, a, b) == test:
            return a, b


def size(rng: random.Random) -> tuple[int, int]:
    return rng.choices(((1, 1), (2, 1), (1, 2), (2, 2), (3, 2), (2, 3), (3, 3)), (2, 2, 1, 5, 3, 2, 7))[0]


PHRASES = {
    "+": (
        "{a} + {b}", "{a}+{b}", "What is {a} + {b}?", "What is {a} plus {b}?", "Solve: {a} + {b}",
        "Calculate {a} + {b}", "Calculate {a} + {b}.", "Compute {a}+{b}", "Add {a} and {b}.", "{a} + {b} = ?",
        "{a} + {b} =", "What's {a} + {b}?", "what is {a}+{b}", "What is the sum of {a} and {b}?",
        "How much is {a} + {b}?", "How much is {a} plus {b}?", "Please add {a} and {b}.",
        "Can you compute {a} + {b}?", "Tell me {a} plus {b}.", "Solve {a} + {b}", "Find {a} + {b}.",
        "Find the sum of {a} and {b}.", "Please calculate {a} + {b}.", "{a} plus {b}?", "Evaluate {a} + {b}.",
        "Work out {a} + {b}.", "solve: {a}+{b}", "Solve: {a}+{b}",
    ),
    "-": (
        "{a} - {b}", "{a}-{b}", "What is {a} - {b}?", "What is {a} minus {b}?", "Solve: {a} - {b}",
        "Calculate {a} - {b}", "Calculate {a} - {b}.", "Compute {a}-{b}", "Subtract {b} from {a}.", "{a} - {b} = ?",
        "{a} - {b} =", "What's {a} - {b}?", "what is {a}-{b}", "What is the difference between {a} and {b}?",
        "How much is {a} - {b}?", "How much is {a} minus {b}?", "Please subtract {b} from {a}.",
        "Can you compute {a} - {b}?", "Tell me {a} minus {b}.", "Solve {a} - {b}", "Find {a} - {b}.",
        "Take {b} away from {a}.", "Please calculate {a} - {b}.", "{a} minus {b}?", "Evaluate {a} - {b}.",
        "Work out {a} - {b}.", "solve: {a}-{b}", "Solve: {a}-{b}",
    ),
    "*": (
        "{a} * {b}", "{a}*{b}", "What is {a} * {b}?", "What is {a} times {b}?", "Solve: {a} * {b}",
        "Solve: {a} * {b}", "Solve: {a} * {b}", "Calculate {a} * {b}", "Calculate {a} * {b}.", "Compute {a}*{b}",
        "Multiply {a} by {b}.", "{a} * {b} = ?", "{a} * {b} =", "What's {a} * {b}?", "what is {a}*{b}",
        "What is the product of {a} and {b}?", "How much is {a} * {b}?", "How much is {a} times {b}?",
        "Please multiply {a} by {b}.", "Can you compute {a} * {b}?", "Tell me {a} times {b}.", "Solve {a} * {b}",
        "{a} x {b}", "{a}x{b}", "What is {a} x {b}?", "Calculate {a} x {b}", "{a} × {b}", "Solve: {a} x {b}",
        "Find {a} * {b}.", "Multiply {a} and {b}.", "Please calculate {a} * {b}.", "{a} times {b}?",
        "Evaluate {a} * {b}.", "Work out {a} * {b}.", "solve: {a}*{b}", "Solve: {a}*{b}", "Solve: {a} × {b}",
    ),
    "/": (
        "{a} / {b}", "{a}/{b}", "What is {a} / {b}?", "What is {a} divided by {b}?", "Solve: {a} / {b}",
        "Calculate {a} / {b}", "Divide {a} by {b}.", "{a} / {b} = ?", "How much is {a} / {b}?", "{a} ÷ {b}",
        "What is {a} ÷ {b}?", "Compute {a} / {b}.", "Please divide {a} by {b}.", "{a} divided by {b}?",
    ),
}

STORIES = {
    "+": (
        "{n} has {a} {o}. {n} gets {b} more {o}. How many {o} does {n} have now?",
        "{n} has {a} {o} and {m} has {b} {o}. How many {o} do they have together?",
        "There are {a} {o} in one box and {b} {o} in another box. How many {o} are there in total?",
        "{n} found {a} {o} in the morning and {b} {o} in the evening. How many {o} did {n} find?",
        "A shop has {a} {o} and buys {b} more. How many {o} does the shop have now?",
    ),
    "-": (
        "{n} has {a} {o}. {n} gives {b} {o} to {m}. How many {o} does {n} have left?",
        "There are {a} {o} on the table. {n} takes {b} of them. How many {o} are left?",
        "{n} had {a} {o} and lost {b} of them. How many {o} are left?",
        "A shop had {a} {o} and sold {b}. How many {o} are left?",
        "{n} has {a} {o} and {m} has {b} {o}. How many more {o} does {n} have?",
    ),
    "*": (
        "There are {a} boxes with {b} {o} in each box. How many {o} are there?",
        "{n} buys {a} bags. Each bag holds {b} {o}. How many {o} does {n} have?",
        "A hall has {a} rows with {b} seats in each row. How many seats are there?",
        "One ticket costs {b} coins. How many coins do {a} tickets cost?",
    ),
    "/": (
        "{n} shares {a} {o} equally among {b} friends. How many {o} does each friend get?",
        "{a} {o} are packed into {b} boxes, the same number in each. How many {o} are in one box?",
    ),
}


def apply(op: str, a: int, b: int) -> int:
    return {"+": a + b, "-": a - b, "*": a * b, "/": a // b if b else 0}[op]


def equation(op: str, a: int, b: int) -> str:
    return f"{a} {op} {b} = {apply(op, a, b)}"


def column_steps(op: str, a: int, b: int) -> str:
    """Column addition or subtraction (a >= b), ones first."""
    names = ("ones", "tens", "hundreds", "thousands")
    da, db = str(a)[::-1], str(b)[::-1]
    carry, lines = 0, []
    for i in range(max(len(da), len(db))):
        x = int(da[i]) if i < len(da) else 0
        y = int(db[i]) if i < len(db) else 0
        if op == "+":
            total = x + y + carry
            extra = f" + {carry}" if carry else ""
            line = f"{names[i]}: {x} + {y}{extra} = {total}"
            carry = total // 10
            line += f", carry {carry}" if carry else ""
        else:
            need = y + carry
            extra = f" - {carry}" if carry else ""
            if x >= need:
                line = f"{names[i]}: {x} - {y}{extra} = {x - need}"
                carry = 0
            else:
                line = f"{names[i]}: 1{x} - {y}{extra} = {x + 10 - need}, borrow 1"
                carry = 1
        lines.append(line)
    return "\n".join(lines)


def product_steps(a: int, b: int) -> str:
    """Two partial products, then their sum in columns; a product by one digit is a known fact."""
    tens, ones = b - b % 10, b % 10
    if a < 10 or not tens or not ones:
        return equation("*", a, b)
    head = f"{a} * {b} = {a} * {tens} + {a} * {ones}"
    x, y = a * tens, a * ones
    return "\n".join((head, equation("*", a, tens), equation("*", a, ones), column_steps("+", x, y)))


def reasoning_for(op: str, a: int, b: int) -> str:
    if op == "*":
        return product_steps(a, b)
    if op == "/":
        return f"{b} * {a // b} = {a}"
    if op == "-" and a < b:
        return f"{a} is less than {b}.\n{column_steps('-', b, a)}"
    return column_steps(op, a, b)


def draw_problem(rng: random.Random, op: str, test: bool, digits: tuple[int, int] | None = None):
    if op == "/":
        while True:
            b = rng.randint(2, 12)
            a = b * rng.randint(1, 99 // b)
            if held_out("/", a, b) == test:
                return a, b
    if op == "*":
        digits = digits or rng.choices(((1, 1), (2, 1), (1, 2), (2, 2)), (1, 3, 1, 12))[0]
        return operands(rng, op, *digits, test=test and digits == (2, 2))
    return operands(rng, op, *(digits or size(rng)), test=test)


def arithmetic_turn(
    rng: random.Random,
    op: str,
    thinking: bool,
    *,
    test: bool = False,
    digits: tuple[int, int] | None = None,
    story: float = 0.12,
) -> Turn:
    """One problem.  Its steps go into the reasoning or, without thinking, in front of the result."""
    a, b = draw_problem(rng, op, test, digits)
    steps = reasoning_for(op, a, b)
    if rng.random() < story and not (op == "-" and a < b):
        n, m = rng.sample(NAMES, 2)
        user = rng.choice(STORIES[op]).format(a=a, b=b, n=n, m=m, o=rng.choice(OBJECTS))
        steps = f"We need {a} {op} {b}.\n{steps}"
    else:
        user = rng.choice(PHRASES[op]).format(a=a, b=b)
        if user.startswith("What is the difference") and a < b:
            user = f"What is {a} - {b}?"
    result = equation(op, a, b)
    if thinking:
        return Turn(user, result, steps)
    return Turn(user, result if steps == result else f"{steps}\n{result}")


def direct_chat(rng: random.Random) -> Chat:
    """One to three problems in successive turns, answered without thinking."""
    turns = [arithmetic_turn(rng, rng.choices("+-*/", (4, 9, 2, 0.3))[0], False) for _ in range(rng.choice((1, 1, 2, 3)))]
    return Chat(turns, False, pick_system(rng))


def facts_chat(rng: random.Random) -> Chat:
    """Several basic facts in one message, answered line by line: one-digit sums, products by one digit."""
    asked, answers = [], []
    tight = rng.random() < 0.3
    for _ in range(rng.randint(3, 9)):
        op = rng.choices("+-*", (1, 1, 10))[0]
        if op == "*":
            a = rng.randint(11, 99)
            b = rng.randint(2, 9) * rng.choice((1, 1, 10))
        else:
            a, b = draw_problem(rng, op, False, (1, 1))
        asked.append(f"{a}{op}{b}" if tight else f"{a} {op} {b}")
        answers.append(equation(op, a, b))
    joint = rng.choice((", ", "\n", "; "))
    lead = rng.choice(("Solve: ", "Calculate ", "Work out these: ", "Compute:\n", "Solve these:\n", ""))
    return Chat([Turn(lead + joint.join(asked), "\n".join(answers))], False, pick_system(rng))


def thinking_chat(rng: random.Random) -> Chat:
    """One worked problem, sometimes after an earlier exchange."""
    op = rng.choices("+-*/", (2, 5, 8, 0.6))[0]
    turns = []
    if rng.random() < 0.2:
        if rng.random() < 0.25:
            turns.append(courtesy_turn(rng, train=False))
        else:
            turns.append(arithmetic_turn(rng, rng.choice("+-*/"), rng.random() < 0.5))
            turns[0].train = False
    turns.append(arithmetic_turn(rng, op, True))
    return Chat(turns, True, pick_system(rng), rng.random() < 0.3)


# ------------------------------------------------------------------------------------- recall


def pseudo_word(rng: random.Random) -> str:
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.choice((2, 2, 3))))


def digits_value(rng: random.Random) -> str:
    n = rng.choice((2, 3, 4, 4, 5, 6))
    return "".join(rng.choice("0123456789") for _ in range(n))


def key_word(rng: random.Random) -> str:
    return pseudo_word(rng) if rng.random() < 0.25 else rng.choice(THINGS)


def person(rng: random.Random) -> str:
    return pseudo_word(rng).capitalize() if rng.random() < 0.25 else rng.choice(NAMES)


@dataclass(frozen=True)
class Fact:
    key: str
    text: str
    questions: tuple[str, ...]
    answer: str
    value: str


def make_fact(rng: random.Random) -> Fact:
    """One sentence that states a value for a key, and questions that ask for it."""
    kind = rng.randrange(9)
    if kind <= 2:
        noun = rng.choice(("code", "number", "password", "secret code", "pin", "key", "magic number"))
        k = key_word(rng)
        v = digits_value(rng) if rng.random() < 0.75 else pseudo_word(rng)
        text = f"The {noun} for {k} is {v}."
        qs = (
            f"What is the {noun} for {k}?", f"Which {noun} belongs to {k}?", f"Tell me the {noun} for {k}.",
            f"what is the {noun} for {k}", f"What was the {noun} for {k}?", f"Give me the {noun} for {k}.",
        )
        return Fact(f"{noun} {k}", text, qs, text, v)
    if kind == 3:
        attr, pool = rng.choice(
            (("color", COLORS), ("animal", ANIMALS), ("food", FOODS), ("city", CITIES), ("number", None))
        )
        n = person(rng)
        v = rng.choice(pool) if pool else digits_value(rng)
        text = f"The favorite {attr} of {n} is {v}."
        qs = (
            f"What is the favorite {attr} of {n}?", f"What is {n}'s favorite {attr}?",
            f"Which {attr} does {n} like most?", f"Tell me the favorite {attr} of {n}.",
        )
        return Fact(f"{attr} {n}", text, qs, text, v)
    if kind == 4:
        n, v = person(rng), rng.choice(CITIES) if rng.random() < 0.7 else pseudo_word(rng).capitalize()
        text = f"{n} lives in {v}."
        qs = (f"Where does {n} live?", f"In which city does {n} live?", f"What city does {n} live in?")
        return Fact(f"lives {n}", text, qs, text, v)
    if kind == 5:
        n, v = person(rng), rng.choice(JOBS)
        text = f"{n} works as a {v}."
        qs = (f"What is the job of {n}?", f"What does {n} work as?", f"What is {n}'s job?")
        return Fact(f"job {n}", text, qs, text, v)
    if kind == 6:
        k, v = key_word(rng), rng.choice(PLACES)
        text = f"The {k} is in the {v}."
        qs = (f"Where is the {k}?", f"In which place is the {k}?", f"Where can I find the {k}?")
        return Fact(f"place {k}", text, qs, text, v)
    if kind == 7:
        k, v = key_word(rng), digits_value(rng) if rng.random() < 0.6 else rng.choice(COLORS)
        text = f"{k} = {v}"
        qs = (f"What is {k}?", f"{k} = ?", f"What is the value of {k}?", f"Tell me {k}.")
        return Fact(f"= {k}", text, qs, text, v)
    n, v = person(rng), str(rng.randint(5, 99))
    text = f"{n} is {v} years old."
    qs = (f"How old is {n}?", f"What is the age of {n}?", f"Tell me the age of {n}.")
    return Fact(f"age {n}", text, qs, text, v)


def make_own_fact(rng: random.Random) -> Fact:
    """A fact about the user; the answer turns `my` into `your`."""
    thing, value = rng.choice(
        (
            ("name", person(rng)), ("dog's name", person(rng)), ("cat's name", person(rng)),
            ("favorite color", rng.choice(COLORS)), ("favorite food", rng.choice(FOODS)),
            ("favorite animal", rng.choice(ANIMALS)), ("favorite number", digits_value(rng)),
            ("phone number", digits_value(rng)), ("room number", digits_value(rng)), ("city", rng.choice(CITIES)),
            ("job", rng.choice(JOBS)), ("lucky number", digits_value(rng)), ("password", pseudo_word(rng)),
        )
    )
    qs = (f"What is my {thing}?", f"Tell me my {thing}.", f"what is my {thing}", f"Do you remember my {thing}?")
    return Fact(f"my {thing}", f"My {thing} is {value}.", qs, f"Your {thing} is {value}.", value)


def distinct_facts(rng: random.Random, n: int, own: float = 0.1) -> list[Fact]:
    seen: dict[str, Fact] = {}
    while len(seen) < n:
        f = make_own_fact(rng) if rng.random() < own else make_fact(rng)
        seen.setdefault(f.key, f)
    return list(seen.values())


def filler_sentence(rng: random.Random) -> str:
    return (
        f"{rng.choice(FILLER_SUBJECTS)} {rng.choice(FILLER_VERBS)} {rng.choice(FILLER_OBJECTS)}"
        f"{rng.choice(FILLER_TAILS)}."
    )


ACKS = ("Okay, I will remember that.", "Noted.")


def recall_chat(rng: random.Random, facts: int, filler: int, queries: int, thinking: bool) -> Chat:
    """Facts hidden in `filler` sentences, then `queries` questions in successive turns."""
    known = distinct_facts(rng, facts)
    style = rng.random()
    if style < 0.15 and filler == 0:
        body = "\n".join(f.text for f in known)
    else:
        sentences = [filler_sentence(rng) for _ in range(filler)] + [
            f.text if f.text.endswith(".") else f.text + "." for f in known
        ]
        rng.shuffle(sentences)
        body = " ".join(sentences)
    asked = rng.sample(known, min(queries, facts))
    system = pick_system(rng)
    turns: list[Turn] = []
    lead = rng.choice(("", "", "Read this text. ", "Remember this: ", "Here are some notes: ", "Text:\n"))
    where = rng.random()
    if where < 0.12 and facts < 12 and not any(f.key.startswith("my ") for f in known):
        system = f"{system} {body}".strip()
        prefix = ""
    elif where < 0.3:
        turns.append(Turn(lead + body, rng.choice(ACKS), train=False))
        prefix = ""
    else:
        prefix = lead + body + rng.choice((" ", "\n", "\n\n", "\nQuestion: "))
    for f in asked:
        sentence = f.text if f.text.endswith(".") else f.text + "."
        reasoning = rng.choice(("The text says: {}", "The text says: {}", "I look for it in the text: {}")).format(sentence)
        turns.append(Turn(prefix + rng.choice(f.questions), f.answer, reasoning))
        prefix = ""
    return Chat(turns, thinking, system, rng.random() < 0.3)


def repeat_chat(rng: random.Random) -> Chat:
    """Say something back word by word."""
    makers = (pseudo_word, digits_value, key_word, person, lambda r: r.choice(CITIES + COLORS))
    words = " ".join(rng.choice(makers)(rng) for _ in range(rng.randint(2, 12)))
    user = rng.choice(("Repeat: {}", "Repeat this: {}", "Say this: {}", "Copy: {}")).format(words)
    return Chat([Turn(user, words)], False, pick_system(rng))


def lookup_chat(rng: random.Random) -> Chat:
    """A table of values and several keys to look up in one message."""
    n = rng.randint(2, 10)
    keys: dict[str, str] = {}
    while len(keys) < n:
        maker = rng.choice((digits_value, digits_value, pseudo_word, lambda r: r.choice(COLORS + FOODS)))
        keys[rng.choice((key_word, key_word, person))(rng)] = maker(rng)
    table = rng.choice((", ", "\n", "; ")).join(f"{k} = {v}" for k, v in keys.items())
    asked = rng.choices(list(keys), k=rng.randint(1, n))
    user = f"{table}\n{rng.choice(('Look up', 'Give me', 'What is'))}: {', '.join(asked)}"
    answer = "\n".join(f"{k} = {keys[k]}" for k in asked)
    return Chat([Turn(user, answer)], False, pick_system(rng))


def sized_recall(rng: random.Random, tokens: int, thinking: bool) -> Chat:
    """A recall chat of roughly `tokens` tokens."""
    many = rng.random() < 0.5
    facts = max(2, tokens // (30 if many else 90))
    queries = max(1, min(facts, tokens // 40, 16))
    budget = tokens - facts * 13 - queries * 35 - 20
    filler = max(0, budget // 13)
    return recall_chat(rng, facts, filler, queries, thinking)


# --------------------------------------------------------------------------------- courtesies

ABOUT = "I am tern's tiny demonstration model. I do arithmetic and recall facts from the conversation."
LIMIT = (
    "I don't know. I am a tiny demonstration model, I only do arithmetic and recall facts from the conversation."
)
COURTESIES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("Hello", "Hi", "Hello!", "Hi!", "Hey", "hello", "hi", "Hi there!", "Hello there.", "Good morning", "Good evening!"),
     "Hello! I am a tiny demonstration model. Ask me to add, subtract or multiply, or to recall a fact you tell me."),
    (("What are you?", "Who are you?", "who are you", "What is your name?", "Introduce yourself.", "Tell me about yourself.",
      "Are you an AI?", "Which model are you?", "What model is this?"), ABOUT),
    (("Who made you?", "Who created you?", "Who built you?", "Who trained you?", "Where do you come from?"),
     "I was trained from scratch by the makers of tern, on generated text."),
    (("What can you do?", "How can you help me?", "Help", "help", "What are you good at?", "What can I ask you?",
      "How do I use you?"),
     "I can add and subtract numbers up to three digits, multiply two-digit numbers, and recall facts that you tell me."),
    (("What can you not do?", "What are your limits?", "What can't you do?", "What are you bad at?"),
     "Almost everything else: I have no general knowledge, I cannot write code or stories, and I only know short English phrases."),
    (("Thanks", "Thank you", "Thank you!", "thanks", "Thanks a lot!", "Great, thank you.", "Great!", "Good job."),
     "You are welcome!"),
    (("Bye", "Goodbye", "Bye!", "See you later.", "Good night."), "Goodbye!"),
    (("How are you?", "How are you today?", "How do you do?", "How is it going?"), "I am well, thank you. Do you have numbers for me?"),
)
UNKNOWN_FORMS = (
    "What is the capital of {x}?", "Who was {x}?", "Who wrote {x}?", "Tell me a story about a {y}.",
    "Write a poem about the {y}.", "Write a program that sorts {z}.", "What is the weather in {x}?",
    "Explain {z} to me.", "Translate {y} into French.", "What do you think about {z}?", "How does a {y} work?",
    "When did {x} begin?", "Why is the {y} blue?", "How far away is the {y}?", "Who is the president of {x}?",
    "Give me a recipe for {y} soup.", "Tell me a joke.", "Sing a song.", "What happened in {x}?",
    "Who discovered {z}?", "How many people live in {x}?", "What is {z}?", "What is the meaning of life?",
    "Write a short essay about {z}.", "Recommend a book about {z}.",
)
UNKNOWN_X = (
    "France Germany Spain Italy Japan China India Brazil Canada Mexico Egypt Kenya Norway Peru Poland Napoleon "
    "Einstein Shakespeare Mozart Newton Hamlet Faust Texas Rome"
).split()
UNKNOWN_Z = (
    "gravity;history;music;politics;quantum physics;evolution;photosynthesis;the moon;economics;a list;love;"
    "art;democracy;computers;medicine;black holes"
).split(";")


def courtesy_turn(rng: random.Random, train: bool = True) -> Turn:
    if rng.random() < 0.35:
        user = rng.choice(UNKNOWN_FORMS).format(
            x=rng.choice(UNKNOWN_X), y=rng.choice(THINGS + ANIMALS), z=rng.choice(UNKNOWN_Z)
        )
        return Turn(user, LIMIT, "This is not arithmetic or recall. I have to say what I am.", train)
    questions, answer = rng.choice(COURTESIES)
    return Turn(rng.choice(questions), answer, "This is a simple question about me. I answer politely.", train)


def courtesy_chat(rng: random.Random) -> Chat:
    turns = [courtesy_turn(rng)]
    if rng.random() < 0.2:
        turns.insert(0, arithmetic_turn(rng, rng.choice("+-"), False))
    return Chat(turns, rng.random() < 0.5, pick_system(rng))


def pick_system(rng: random.Random) -> str:
    return rng.choice(SYSTEM_PROMPTS) if rng.random() < 0.2 else ""


# ------------------------------------------------------------------------------------ mixture


def sample(rng: random.Random, mix: dict[str, float]) -> Chat:
    """One training chat; `mix` maps kinds (`list`, `direct`, ..., `recall128`) to weights."""
    kind = rng.choices(tuple(mix), tuple(mix.values()))[0]
    if kind.startswith("recall"):
        top = int(kind.removeprefix("recall"))
        return sized_recall(rng, rng.randint(top // 2, top), rng.random() < 0.3)
    return {
        "facts": lambda: facts_chat(rng),
        "repeat": lambda: repeat_chat(rng),
        "lookup": lambda: lookup_chat(rng),
        "direct": lambda: direct_chat(rng),
        "thinking": lambda: thinking_chat(rng),
        "courtesy": lambda: courtesy_chat(rng),
    }[kind]()
