"""Full-text search that finds Chinese words: each CJK character is a token, a word a phrase.

SQLite's unicode61 tokeniser takes a run of Chinese as one word, and trigram finds nothing below
three characters. With a space round each character, 模型 is the phrase "模 型", which matches
inside 奖励模型 and not in 型模.
"""

from __future__ import annotations

import re

# Han with extensions, kana, Hangul, compatibility forms.
_CJK = re.compile(
    "([\u2e80-\u2fdf\u3005-\u3007\u3041-\u30ff\u3105-\u318e\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7a3\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff])"
)


def index_text(text: str) -> str:
    """The text as it goes into the index."""
    # A function is twice as fast as a template, and most English needs neither.
    return text if text.isascii() else _CJK.sub(lambda found: f" {found[0]} ", text)


def match_query(text: str) -> str:
    """The FTS5 query for what a person typed: every word must occur, the last one as a beginning.

    Empty when there is no word to look for.
    """
    words = [w for w in text.split() if any(c.isalnum() for c in w)]
    phrases = ['"' + index_text(word).strip().replace('"', '""') + '"' for word in words]
    return " ".join(phrases) + "*" if phrases else ""
