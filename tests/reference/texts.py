"""Texts for the tokenizer fixtures: what people write and what breaks splitters."""
import random

HAND = [
    "", " ", "  ", "   ", "\n", "\n\n", "\n\n\n", "\t", "\t\t\tx", "\r\n", "\r\n\r\n", " \n", "\n ", " \n \n ",
    "a", " a", "a ", " a ", "  a  b   c    d", "Hello", "Hello world", "Hello, world!", "hello  world",
    "The capital of France is", "The quick brown fox jumps over the lazy dog.", "ALL CAPS TEXT",
    "don't", "I'm we're they'll you've he'd it's can't", "DON'T I'M WE'RE THEY'LL", "'s 't 're 've 'm 'll 'd",
    "rock 'n' roll", "O'Neill's", "'", "''", "'''", "\u2019s and \u2018quotes\u2019 \u201cdouble\u201d", "'\u017f \u017fS",
    "0", "1", "12", "123", "1234", "12345", "123456789", "3.14159", "1,000,000", "2024-11-21T02:47:57Z", "a1b2c3",
    "x=1", "0x1F", "1e-5", "12 34 567 8901", " 7", "7 ", "\u0663\u0664\u0665", "\u2167 \u00bd \u00b2", "No.1", "v1.2.3-rc4",
    "\uff11\uff12\uff13", "\u0967\u0968\u0969 \u0939\u093f\u0928\u094d\u0926\u0940",
    "caf\u00e9 na\u00efve r\u00e9sum\u00e9", "cafe\u0301 decomposed", "\u00c4\u00d6\u00dc \u00e4\u00f6\u00fc\u00df", "\u0141\u00f3d\u017a", "\u0130stanbul \u0131",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!", "\u0393\u03b5\u03b9\u03ac \u03c3\u03bf\u03c5 \u039a\u03cc\u03c3\u03bc\u03b5", "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd", "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645",
    "\u4f60\u597d\uff0c\u4e16\u754c\uff01", "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8\u3067\u3059\u3002", "\ud55c\uad6d\uc5b4 \ud14d\uc2a4\ud2b8", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01", "\u0bb5\u0ba3\u0b95\u0bcd\u0b95\u0bae\u0bcd",
    "\u4e2d\u6587mixed\u82f1\u6587text123\u6570\u5b57", "\u3000full\u3000width\u3000space", "\uff21\uff22\uff23\uff44\uff45\uff46",
    "\U0001F600", "\U0001F600\U0001F603\U0001F604", "hi \U0001F44B\U0001F3FD there", "\U0001F468\u200d\U0001F469\u200d\U0001F467\u200d\U0001F466", "\u2764\ufe0f", "\U0001F1E9\U0001F1EA\U0001F1EB\U0001F1F7",
    "\u00a0nbsp\u00a0\u00a0two", "zero\u200bwidth\u200c\u200d\ufeff", "\u2028line\u2029para", "\u0085next", "\u180emongolian \u180e x", "\u2003em\u2009thin",
    "a\u0300\u0301\u0302 marks", "\ufffd replacement", "\U0010ffff \U000e0001", "\u00ad soft\u00adhyphen",
    "\x00", "a\x00b", "\x01\x02\x03", "\x1b[31mred\x1b[0m", "\x7f", "\x0b\x0c", "\x04\x06\x13\x14\x16\x1d",
    "def f(x):\n    return x + 1\n", "int main(void) {\n\tprintf(\"%d\\n\", 42);\n\treturn 0;\n}\n", "for (int i = 0; i < n; ++i) a[i] += b[i] * c;",
    "<html><body class=\"x\">text</body></html>", "{\"key\": [1, 2.5, null, true]}", "SELECT * FROM t WHERE id = 10;", "#include <vector>\nstd::vector<int> v{1,2,3};",
    "if a == b and not c:\n        pass\n\n\n    else:\n  x", "/* comment */ // another\n", "https://example.com/path?q=1&r=%20#frag", "user@example.org",
    "$100.00 \u20ac50 \u00a330", "50% off!!!", "...", "?!?!", "-----", "=====>", "a_b_c", "snake_case camelCase PascalCase kebab-case",
    "C:\\Users\\name\\file.txt", "~/.bashrc", "`code` **bold** _it_", "| a | b |\n|---|---|\n| 1 | 2 |", "+-*/^~|<>=", "!@#$%^&*()", "[]{}()<>",
    "\u2200x\u2208\u211d: x\u00b2\u22650", "\u2192 \u2190 \u21d2", "\u2014 em \u2013 en", "\u2026", "\u00a1Hola! \u00bfQu\u00e9 tal?",
    "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n", "<|endoftext|>", "<|im_start|>", "<|im_end|><|im_end|>", "a<|im_end|>b", "<|im_start", "<|im_start|", "|im_end|>",
    "<repo_name>x<file_sep>y", "<filename>a.py<gh_stars>100-1000", "<|im_start|> <|im_end|> ", " <|im_start|>", "<|unknown|>", "<<|im_end|>>", "<s>[INST] x [/INST]</s>",
    "supercalifragilisticexpialidocious", "antidisestablishmentarianism", "Donaudampfschifffahrtsgesellschaft", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "abababababababababab",
    "        eight spaces", "x" + " " * 37 + "y", "\n" * 9, "\t \t \t", " " * 64, "a\n" * 10, "end with space ", "end with newline\n", "trailing   \n   leading",
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore magna aliqua.",
    "Once upon a time there was a 10-year-old girl who couldn't sleep; she'd counted 1,234 sheep by 3:45am!",
    "Q: What is 17 * 23?\nA: 17 * 23 = 391.\n\nQ: And 391 / 17?\nA:",
]

ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyz", "ABCXYZ", "0123456789", "    \n\t", ".,;:!?'\"()[]{}<>|/\\@#$%^&*-_=+`~",
    "\u00e4\u00f6\u00fc\u00df\u00e9\u00e8\u00f1\u00e7", "\u0430\u0431\u0432\u0433\u0434\u0435\u0436\u0437", "\u4e00\u4e8c\u4e09\u65e5\u672c\u8a9e\u3042\u3044\u30a2", "\U0001F600\U0001F680\u2764", "\u0301\u0308\u200d\u00a0\u3000",
]


def texts(random_count=48, seed=20241121):
    rng = random.Random(seed)
    out = list(HAND)
    for _ in range(random_count):
        length = rng.randint(1, 48)
        weights = [rng.random() ** 2 for _ in ALPHABETS]
        text = ""
        while len(text) < length:
            alphabet = rng.choices(ALPHABETS, weights)[0]
            text += "".join(rng.choice(alphabet) for _ in range(rng.randint(1, 6)))
        out.append(text[:length])
    return out
