"""Texts for real models, readable without the engine: tools/record_gemma3.py wants them, too."""

TEXT = (
    "The sun rises in the east and sets in the west. Water boils at one hundred degrees Celsius at sea level. "
    "The Earth moves around the Sun once every year, and the Moon moves around the Earth about once a month. "
    "Paris is the capital of France, and London is the capital of England."
)
PROMPTS = [
    "The capital of France is",
    "Once upon a time there was a fox who",
    TEXT,
    "def fibonacci(n):\n",
    "A list of three colours: red,",
    TEXT[:200],
]

# What Gemma's logits and perplexity are compared with llama.cpp's on: tools/record_gemma3.py.
TWENTY = [
    *PROMPTS,
    "The opposite of hot is",
    "Monday, Tuesday, Wednesday,",
    "import numpy as np\n\ndef softmax(x):\n    ",
    "Die Hauptstadt von Deutschland ist",
    "La Tour Eiffel se trouve à",
    "1 + 1 = 2, 2 + 2 = 4, 4 + 4 =",
    "<html>\n<head>\n<title>",
    "SELECT name, age FROM people WHERE",
    "東京は日本の",
    "Dear Sir or Madam,\n\nI am writing to",
    "Q: What do bees make?\nA:",
    "The quick brown fox jumps over the lazy",
    "Breaking news: scientists have discovered",
    "To be, or not to be, that is the",
]
LONG_TEXT = " ".join(
    [
        TEXT,
        "A river begins as a small spring in the hills. It grows as other streams join it, turns the wheels of old",
        "mills, passes under stone bridges, and at last reaches the sea, where fishermen mend their nets in the",
        "evening light. In winter the water is grey and cold, and few people walk along its banks. In spring the",
        "willows turn green, children throw sticks from the bridge, and the first boats of the year are painted and",
        "put back into the water. The old miller says that the river never carries the same water twice, but he has",
        "looked at it for sixty years, and to him it has always been the same river. When somebody asks him why he",
        "never moved to the town, he laughs and says that the town would not know what to do with a man who goes to",
        "bed when the sun does. The price of bread rose by three percent last year, according to the national office",
        "of statistics, while wages rose by two. Economists expect that the difference will become smaller as energy",
        "prices fall. The central bank has said that it will decide in March whether interest rates are to be changed",
        "again.",
    ]
)
