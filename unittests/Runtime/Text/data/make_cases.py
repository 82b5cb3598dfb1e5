#!/usr/bin/env python3
"""Makes the tokenizers and the expected ids of the tokenizer tests.

Needs the Hugging Face `tokenizers` package, which is the reference here:

    python3 make_cases.py OUT_DIR

llama3.json, qwen2.json, neox.json, spm.json   tokenizers of about 2,000 tokens with
    the normalizers, pre-tokenizers, processors and decoders of those families
cases.json    hard strings, and for each tokenizer their ids and decoded text
stages.json   what single normalizers, pre-tokenizers and decoders give
"""
import json
import os
import random
import sys
import traceback

import tokenizers
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")

PROSE = """
The river rises in the hills above the old town and runs for forty miles before it meets the sea.
In 1998 the government of the region built a bridge, and in 2004 a second one was opened beside it.
She said that they'd never seen anything like it; he's sure we'll find out what's happening, but I'm not.
Don't you think it's strange? We've been here for 12 hours and they're still waiting for 3.14159 answers.
A compiler reads a program, builds a graph of operations, and writes machine code for a given processor.
The quick brown fox jumps over the lazy dog. THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG!
Der Fluss fließt durch die Stadt und mündet nach vierzig Kilometern in das Meer; schöne Grüße aus Köln.
Übermäßig große Bäume säumen die Straße, während die Kinder auf dem Spielplatz spielen.
La rivière prend sa source dans les collines, près du village où naquit le poète, et coule vers l'océan.
L'été dernier, nous avons mangé des crêpes à la crème brûlée dans un café très agréable de la côte.
El río nace en las montañas y cruza el país; ¿dónde está la biblioteca? ¡Qué maravilla, señor!
A manhã está linda, e as crianças não querem voltar à escola porque o verão ainda não acabou.
Rzeka płynie przez miasto, a źródło znajduje się w górach; zażółć gęślą jaźń.
Příliš žluťoučký kůň úpěl ďábelské ódy. Řeka pramení v horách a teče do moře.
A folyó a hegyekben ered, és a tengerbe ömlik; árvíztűrő tükörfúrógép.
Nehir dağlarda doğar ve denize dökülür; İstanbul'da ışıklar çok güzel, şehir büyüktür.
Река берёт начало в горах и впадает в море. Съешь же ещё этих мягких французских булок, да выпей чаю.
Річка тече через місто, а діти граються біля старого мосту; їжак із ґудзиком.
Ο ποταμός πηγάζει από τα βουνά και χύνεται στη θάλασσα. Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.
النهر ينبع من الجبال ويصب في البحر، والأطفال يلعبون قرب الجسر القديم في المدينة.
הנהר נובע מן ההרים ונשפך אל הים, והילדים משחקים ליד הגשר הישן של העיר.
رودخانه از کوه‌ها سرچشمه می‌گیرد و به دریا می‌ریزد؛ می‌خواهم کتاب بخوانم.
नदी पहाड़ों से निकलती है और समुद्र में मिलती है। बच्चे पुराने पुल के पास खेलते हैं।
নদী পাহাড় থেকে উৎপন্ন হয়ে সাগরে মেশে। শিশুরা পুরানো সেতুর কাছে খেলে।
ஆறு மலைகளில் தோன்றி கடலில் கலக்கிறது. குழந்தைகள் பாலத்தின் அருகே விளையாடுகிறார்கள்.
แม่น้ำเกิดจากภูเขาและไหลลงสู่ทะเล เด็กๆ เล่นอยู่ใกล้สะพานเก่าของเมือง
Con sông bắt nguồn từ núi và chảy ra biển; trẻ em chơi gần cây cầu cũ của thành phố.
河流发源于山中，流经城市，最后汇入大海。孩子们在老桥附近玩耍。今天的天气非常好，我们去公园吧。
河流發源於山中，流經城市，最後匯入大海。孩子們在老橋附近玩耍。
川は山から流れ出し、町を通って海に注ぐ。子供たちは古い橋の近くで遊んでいる。カタカナとひらがなと漢字。
강은 산에서 시작하여 도시를 지나 바다로 흘러간다. 아이들은 오래된 다리 근처에서 놀고 있다.
ወንዙ ከተራራው ይጀምራል ወደ ባህርም ይፈስሳል። მდინარე მთებში იწყება და ზღვას ერთვის։ Գետը սկիզբ է առնում լեռներից։
def read(path):\n    with open(path, "rb") as f:\n        return f.read()\n\nfor i in range(10):\n\tprint(f"{i:>4} = {i**2}")\n
int main(int argc, char **argv) {\r\n  for (int i = 0; i < argc; ++i)\r\n    printf("%s\\n", argv[i]);\r\n  return 0;\r\n}\r\n
<html><body class="x"><p>Hello, world!</p></body></html> https://example.org/a/b?c=d&e=f#g user@example.org
0 1 2 3 10 20 100 2024 31415926 1,000,000.50 -7 +8 1e-5 0xFF 50% $3 €4 £5 ¥6 ½ ¾ ² ³ Ⅷ ① ٣ ३
😀 😂 🎉 👍 👍🏽 ❤️ 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 🇫🇷 — “quoted” ‘text’ … • → ≤ ≥ ∑ ∫ √ ∞ ≈ α β γ π
"""

SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2028", "\u2029", "\u0085",
          "\u000b", "\u000c", "\u180e", "\u1680", "\u202f", "\ufeff", "\u001c", "\u001f"]

STRINGS = [
    "", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\r\n\r\n", "\t", " \n", "\n ", " \n ", "  \n  \n", "a", " a", "a ", "  a", "a  ",
    "a  b", "a   b", "a\nb", "a \nb", "a\n b", "a \n b", "a\n\n\nb", "a\r\nb\r\n", "a\tb", "\ta", "\t\ta", " \ta", "a\u00a0b",
    "a \u00a0b", "\u00a0\u00a0a", "\u2003a", "a\u2003\u2003b", "\u3000日本", "日本\u3000語", "a\u200bb", "a\u2028b", "a\u2029\u2029b",
    "a\u0085b", "\u0085\n", "a\u180eb", " \u180e ", "a\u1680b", "a\u202fb", "\ufeffabc", "a\ufeff b", "a\u000bb\u000cc", "a\u001cb\u001fc",
    "\u001c \u001d", "   \u3000   x", "     five", "                        twenty-four", "x                         y",
    "I'm you're he's they've we'll I'd don't", "I'M YOU'RE HE'S THEY'VE WE'LL I'D DON'T", "I'm You'Re hE'S They'vE wE'lL",
    "'s 't 're 've 'm 'll 'd", "'S'T'RE'VE'M'LL'D", "''s", "' s", "it''s", "it's'", "rock'n'roll", "l'océan qu'il d'été", "’s don’t",
    "'\u017f it'\u017f", "'\u212a", "'lL 'Ll 'l l", "'st", "'sstt", "x's1", "1's",
    "0", "12", "123", "1234", "12345", "123456", "1234567890", " 1", " 12 345 6789", "3.14", "1,234,567.89", "-5", "+5", "1e10", "0x1F",
    "v1.2.3", "a1b2c3", "1a2b", "½¾", "x²y³", "Ⅷ", "①②③", "٣٤٥", "१२३४", "１２３４", "𝟏𝟐𝟑", "二十", "〇一", "1\u0660\u0966",
    "hello", "Hello", "HELLO", "hElLo", "hello world", "hello, world!", "hello,world", "(hello)", "[x]{y}<z>", "a.b.c", "...", " ...",
    "!!!", "! !", "?!?\n", "!\n\n", "!\r\nx", "#include <x>\n", "a/b\\c|d", "---", " --- ", "a-b", "a--b", "_a_", "__init__", "a_b",
    "$100", "50%", "€5", "user@example.org", "https://example.org/?q=1&r=2#x", "C:\\dir\\file.txt", "\"q\"", "“q” ‘r’", "a…b", "a—b–c",
    "    def f(x):\n        return x\n", "\tif (a) {\n\t\tb();\n\t}\n", "x = [1, 2, 3]\r\n\r\n", "for(i=0;i<10;++i){}", "\\n\\t\\u0041",
    "é", "e\u0301", "E\u0301", "café", "cafe\u0301", "e\u0301\u0327", "e\u0327\u0301", "a\u0323\u0307", "a\u0307\u0323", "\u0301", "\u0301\u0301a",
    " \u0301", "a\u0301\u0302\u0303\u0304", "\u1e69", "s\u0323\u0307", "s\u0307\u0323", "ṩ", "Å Å \u212b A\u030a", "Ω \u2126 Ω", "\u0344", "\u0958",
    "\u2adc", "\u0f73\u0f71", "\uac00", "\u1100\u1161", "\u1100\u1161\u11a8", "\uac00\u11a8", "\u1100\u1161\u11a7", "각간갇", "한국어", "ㅎㅏㄴ",
    "\u1112\u1161\u11ab\u1100\u116e\u11a8", "\ufb01\ufb02", "ﬀ", "ＡＢＣ　ａｂｃ", "ｶﾞｷﾞ", "㍿", "\ufdfa", "ǆ ǅ Ǆ", "ß ẞ ſ", "İıI i\u0307",
    "Σίσυφος ΟΔΥΣΣΕΥΣ", "Dž", "ŉ", "\u1fb3\u0345", "中文字符", "中文，标点。", "漢字とかな", "カタカナ", "半角ｶﾀｶﾅ", "𠮷野家", "\U00020000\U0002a6d6",
    "\uf900\uf901", "\U0002f800", "عربي", "العَرَبِيَّة", "السلام عليكم", "لا إله", "می‌خواهم", "شَدَّة\u0640", "שָׁלוֹם", "\ufb2a\u05b8", "नमस्ते", "क्षत्रिय",
    "हिन्दी में १२", "বাংলা", "தமிழ்", "ไทย", "ภาษาไทยน้ำ", "ก็", "ລາວ", "ខ្មែរ", "မြန်မာ", "བོད་", "ᏣᎳᎩ", "ქართული", "ՀայԵրԵն", "አማርኛ",
    "Tiếng Việt", "Tiê\u0301ng Viê\u0323t", "ελληνικά", "русский", "й и\u0306", "Ё Е\u0308", "українська ї", "ҐґЄє",
    "😀", "😀😀", " 😀 ", "👍🏽", "❤️", "❤", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷", "👩🏿‍🚀x", "1️⃣", "☺︎☺️", "🫠", "a😀b", "😀!", "\u200d", "\ufe0f\u20e3",
    "\u0000", "a\u0000b", "\u0001\u0002\u001b[0m", "\u007f", "\u0080\u009f", "\u00ad", "a\u00adb", "\u2060", "\u202e abc \u202c", "\ufffd", "\ufffe\uffff",
    "\ue000", "\uf8ff a", "\U000f0000\U0010fffd", "\U0010ffff", "\U0001d400\U0001d41a", "𝒜𝓑", "\U000e0041", "\u20e3", "℃ № ™ ½", "∑∫√∞",
    "<|endoftext|>", "a<|endoftext|>b", " <|endoftext|> ", "<|endoftext|><|endoftext|>", "<|endoftext", "<|endoftext|", "|endoftext|>",
    "<|im_start|>user\nhi<|im_end|>\n", "<|begin_of_text|>x", "<s>x</s>", "<unk>", "\n<|endoftext|>\n",
    "a <mask> b", "a   <mask>   b", "<mask>", "  <mask>\t<mask>\n", "x\u00a0<mask>", "a<tail>   b", "a <tail>\n\n b", "<tail><mask>", "<tail>  <mask>  ",
    "solo", "a solo b", "asolo", "solob", "solo solo", "(solo)", "solo1", "_solo", "solo\u0301", "éSolo solo!", "über", "u\u0308ber", "a u\u0308ber b", "überall",
    "  two", "x  two   three    four", "    ", "a     ", "tab\t\t\ttab", "foo  <|endoftext|>  bar", "unreachable", " unreachable", " unreachable word", "xunreachable",
    "unreachables", "<0x41>", "<0x0A>", "a▁b", "▁", "▁▁a", "a▁▁ b", " ▁ ", "naïve façade — résumé", "naı̈ve",
    "The river rises in 1998, doesn't it? Größe: 3,5 m² – 東京タワー 🗼 (élevé)\n\n\tEnd.",
    "mixed العربية and עברית with 中文 and ไทย 123 ١٢٣", "x" * 70, "ab" * 40, "e\u0301" * 20, "\u0301" * 30, " " * 100, "\n" * 50, " \n" * 20, "1" * 50, "!" * 60,
]


def mixtures(count):
    """Random concatenations of pieces of STRINGS, the same in every run."""
    rng = random.Random(20)
    pieces = [s for s in STRINGS if 0 < len(s) <= 12] + SPACES * 2
    return ["".join(rng.choice(pieces) for _ in range(rng.randint(2, 10))) for _ in range(count)]


STRINGS += mixtures(240)


def corpus():
    lines = [l.replace("\\n", "\n").replace("\\r", "\r").replace("\\t", "\t") for l in PROSE.strip().splitlines()]
    out = list(lines)
    for i, line in enumerate(lines):
        words = line.split(" ")
        out += [" ".join(words[j:]) for j in range(1, len(words), 3)]
        out.append(line.upper())
        out.append(SPACES[i % len(SPACES)].join(words[:8]))
        out.append("    " * (i % 4) + line + "\n\n" * (i % 3))
    return out


SPLIT = lambda regex: pre_tokenizers.Split(tokenizers.Regex(regex), "isolated")


def train(pre, size, specials, alphabet):
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=specials, initial_alphabet=alphabet, min_frequency=1,
                                  show_progress=False)
    tok.train_from_iterator(corpus(), trainer)
    return tok


def added(content, special=False, normalized=None, **kw):
    return AddedToken(content, special=special, normalized=(not special) if normalized is None else normalized, **kw)


EXTRA = [added("<mask>", special=True, lstrip=True), added("<tail>", special=True, rstrip=True), added("solo", single_word=True),
         added("über", normalized=True)]


def level(prefix, trim, regex):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": trim, "use_regex": regex}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def sequence(key, *parts):
    return {"type": "Sequence", key: list(parts)}


def template(before, special, after=()):
    item = lambda t: {"SpecialToken": {"id": t, "type_id": 0}}
    a, b = {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}
    return {"type": "TemplateProcessing", "single": [item(t) for t in before] + [a] + [item(t) for t in after],
            "pair": [item(t) for t in before] + [a, b],
            "special_tokens": {t: {"id": t, "ids": [i], "tokens": [t]} for t, i in special.items()}}


def finish(tok, extra, change):
    tok.add_tokens(extra)
    data = json.loads(tok.to_str())
    change(data)
    text = json.dumps(data, ensure_ascii=False)
    return Tokenizer.from_str(text), data


def llama3():
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    pre = pre_tokenizers.Sequence([SPLIT(LLAMA3), pre_tokenizers.ByteLevel(False, use_regex=False)])
    tok = train(pre, 1990, [], alphabet)

    def change(d):
        vocab = d["model"]["vocab"]
        d["model"]["ignore_merges"] = True
        for word in ("Ġunreachable", "unreachable", "Ċ" * 50):  # whole words that no merge makes
            if word not in vocab:
                vocab[word] = len(vocab)
        first = len(vocab)
        names = ["<|begin_of_text|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
        d["added_tokens"] = [dict(id=first + i, content=n, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
                             for i, n in enumerate(names)]
        for t in (dict(content="<mask>", lstrip=True, special=True), dict(content="<tail>", rstrip=True, special=True),
                  dict(content="solo", single_word=True, normalized=True), dict(content="über", normalized=True)):
            d["added_tokens"].append(dict(dict(id=first + len(d["added_tokens"]), single_word=False, lstrip=False, rstrip=False,
                                               normalized=False, special=False), **t))
        d["pre_tokenizer"] = sequence("pretokenizers", split(LLAMA3), level(False, True, False))
        d["post_processor"] = sequence("processors", level(True, False, True),
                                       template(["<|begin_of_text|>"], {"<|begin_of_text|>": first}))
        d["decoder"] = level(True, True, True)

    return finish(tok, [], change)


def qwen2():
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    pre = pre_tokenizers.Sequence([SPLIT(QWEN2), pre_tokenizers.ByteLevel(False, use_regex=False)])
    tok = train(pre, 1990, [], alphabet)
    extra = [added(t, special=True) for t in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")]

    def change(d):
        d["normalizer"] = {"type": "NFC"}
        d["pre_tokenizer"] = sequence("pretokenizers", split(QWEN2), level(False, False, False))
        d["post_processor"] = level(False, False, False)
        d["decoder"] = level(False, False, False)

    return finish(tok, extra + EXTRA, change)


def neox():
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tok = train(pre_tokenizers.ByteLevel(False), 1960, ["<|endoftext|>", "<|padding|>"], alphabet)
    extra = [added(" " * n) for n in range(24, 1, -1)] + EXTRA

    def change(d):
        d["normalizer"] = {"type": "NFC"}
        d["pre_tokenizer"] = level(False, True, True)
        d["post_processor"] = level(False, True, True)
        d["decoder"] = level(False, True, True)
        d["model"]["merges"] = [m if isinstance(m, str) else " ".join(m) for m in d["model"]["merges"]]

    return finish(tok, extra, change)


def spm():
    tok = train(pre_tokenizers.Metaspace(), 1500, ["<unk>", "<s>", "</s>"], [])

    def change(d):
        vocab = d["model"]["vocab"]
        for i in range(256):
            vocab["<0x%02X>" % i] = len(vocab)
        d["model"].update(unk_token="<unk>", fuse_unk=True, byte_fallback=True)
        d["normalizer"] = sequence("normalizers", {"type": "Prepend", "prepend": "▁"},
                                   {"type": "Replace", "pattern": {"String": " "}, "content": "▁"})
        d["pre_tokenizer"] = None
        d["post_processor"] = template(["<s>"], {"<s>": 1, "</s>": 2}, ["</s>"])
        d["decoder"] = sequence("decoders", {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
                                {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0})

    return finish(tok, [], change)


def empty(**parts):
    d = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": None,
         "post_processor": None, "decoder": None, "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
         "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": {}, "merges": []}}
    d.update(parts)
    return Tokenizer.from_str(json.dumps(d))


def stages():
    normalizers = [{"type": t} for t in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase")]
    normalizers += [sequence("normalizers", {"type": "NFKC"}, {"type": "Lowercase"}), {"type": "Prepend", "prepend": "▁"},
                    {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}, {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}]
    pres = [level(False, True, True), level(True, True, True), level(True, True, False), {"type": "Digits", "individual_digits": True},
            {"type": "Digits", "individual_digits": False}, {"type": "Whitespace"}, {"type": "WhitespaceSplit"},
            split(LLAMA3), split(QWEN2), split(O200K), split(r"\w+|[^\w\s]+", "Removed", True), split(r"\W", "Contiguous"),
            split(r"[^\S\n]+|\d{2}", "Isolated"), split(r"x*", "Isolated"),
            sequence("pretokenizers", {"type": "Digits", "individual_digits": True}, level(False, True, True)),
            sequence("pretokenizers", {"type": "Digits", "individual_digits": False}, level(True, True, True))]
    pres += [split(" ", b, kind="String") for b in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")]
    pres += [split(r"\s", b, i) for b in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous") for i in (False, True)]
    pres += [{"type": "Metaspace", "replacement": "▁", "prepend_scheme": s, "split": c} for s in ("always", "first", "never") for c in (True, False)]
    byte = ["<0xE2>", "<0x82>", "<0xAC>"]
    lists = [["▁a", "▁b", "c"], ["▁", "▁", "x"], byte, ["a"] + byte + ["b"], byte[:2], byte[:2] + ["x"], byte + byte[:1] + ["z"],
             ["<0x41>", "<0x0A>"], ["<0xFF>", "a", "<0x20>", "<0x20>"], ["<0x4>", "<0xZZ>", "<0x414>"], ["Ġa", "Ã©", "ÃŃ", "Ł", "x y", "é"],
             ["ðŁ", "ĺ", "Ģ", "!"], ["ðŁ", "a"], ["ðŁĺ"], [" a ", " b ", "  "], ["▁▁x", "▁"], [], [""]]
    decoders = [level(True, True, True), {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
                {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": True}, {"type": "Strip", "content": " ", "start": 1, "stop": 1},
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                sequence("decoders", {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}),
                sequence("decoders", {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
                         {"type": "Strip", "content": " ", "start": 1, "stop": 0})]

    def attempt(f):
        try:
            return f()
        except BaseException as e:  # a panic in the reference is recorded too: such a case has no expected value
            return {"error": str(e)}

    short = [s for s in STRINGS[:-240] if len(s) < 60]
    return {
        "strings": short,
        "normalizers": [{"config": c, "out": [attempt(lambda: empty(normalizer=c).normalizer.normalize_str(s)) for s in short]} for c in normalizers],
        "pre_tokenizers": [{"config": c, "out": [attempt(lambda: [p for p, _ in empty(pre_tokenizer=c).pre_tokenizer.pre_tokenize_str(s)])
                                                 for s in short]} for c in pres],
        "decoders": [{"config": c, "out": [attempt(lambda: empty(decoder=c).decoder.decode(t)) for t in lists]} for c in decoders],
        "token_lists": lists,
    }


def write(folder, name, value):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")
    print(name, os.path.getsize(path))


def main():
    folder = sys.argv[1]
    cases = {"made_with": "tokenizers " + tokenizers.__version__, "strings": STRINGS}
    failed = False
    for name, make in (("llama3", llama3), ("qwen2", qwen2), ("neox", neox), ("spm", spm)):
        try:
            tok, data = make()
        except Exception:
            traceback.print_exc()
            failed = True
            continue
        write(folder, name + ".json", data)
        ids = [tok.encode(s).ids for s in STRINGS]
        cases[name] = {"ids": ids, "bare_ids": [tok.encode(s, add_special_tokens=False).ids for s in STRINGS],
                       "text": [tok.decode(i, skip_special_tokens=False) for i in ids], "clean_text": [tok.decode(i) for i in ids]}
        tok.encode_special_tokens = True
        cases[name]["plain_ids"] = [tok.encode(s, add_special_tokens=False).ids for s in STRINGS]
        print(name, tok.get_vocab_size(), sum(map(len, ids)))
    write(folder, "cases.json", cases)
    write(folder, "stages.json", stages())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
