"""Which of five languages a text is in, by its letters and its commonest words."""

from __future__ import annotations

import re
from collections.abc import Mapping

from workbench.config.reward_parts.kinds import LanguagePart
from workbench.rewards.parts.answers import Rule, Said, words

_COMMONEST: Mapping[str, str] = {
    "en": "the of and to a in is it you that he was for on are with as i his they be at one have "
    "this from or had by not but what all were we when your can said there an which she do how "
    "their if will up other about out many then them these so some her would him into has my "
    "more been it's don't i'm",
    "de": "der die das und ist in zu den mit sich von auf für im nicht ein eine einen einem einer "
    "als auch es an werden aus er hat dass sie nach wird bei noch wie über so zum haben nur oder "
    "aber vor zur bis mehr durch man sein wurde wenn ich du wir ihr mein dein kann sind war was "
    "wo hier sehr schon immer",
    "fr": "le la les de des du un une et est en à dans que qui pour pas sur ce il elle je tu nous "
    "vous ils ne se plus par avec sont au aux son sa ses mais ou où comme cette ces on leur être "
    "fait tout si très bien c'est j'ai n'est d'un d'une qu'il l'on",
    "es": "el la los las de del un una unos y es en que a por para con no se lo como más su sus "
    "al pero o este esta estos hay fue ser son está están muy ya también me te nos le les si "
    "porque cuando donde todo yo tú él ella nosotros mi sin sobre",
}
_STOP_WORDS = {name: frozenset(listed.split()) for name, listed in _COMMONEST.items()}
_LETTERS: Mapping[str, str] = {"de": "äöüß", "fr": "àâçèêëîïôœùû", "es": "ñ¿¡áíóú"}
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_OTHER_ASIAN = re.compile(r"[\u3040-\u30ff\uac00-\ud7af\u1100-\u11ff]")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")


def language(part: LanguagePart) -> Rule:
    """Chinese: the share of Han characters among letters, none with Japanese or Korean ones.

    Others: the share of Latin letters, times the share of hits that speak for the language. A
    word that several languages have among their commonest speaks for each in equal parts.
    """
    wanted = part.language
    return lambda said: _han_share(said) if wanted == "zh" else _latin(said, wanted)


def _han_share(said: Said) -> float:
    if _OTHER_ASIAN.search(said.text):
        return 0.0
    return _share(_HAN, said.text)


def _share(script: re.Pattern[str], text: str) -> float:
    n_letters = sum(map(str.isalpha, text))
    return len(script.findall(text)) / n_letters if n_letters else 0.0


def _latin(said: Said, wanted: str) -> float:
    hits = dict.fromkeys(_STOP_WORDS, 0.0)
    for word in words(said.text.casefold().replace("’", "'")):
        speaking = [name for name, known in _STOP_WORDS.items() if word in known]
        speaking += [n for n, letters in _LETTERS.items() if set(word) & set(letters)]
        for name in speaking:
            hits[name] += 1 / len(speaking)
    total = sum(hits.values())
    return _share(_LATIN, said.text) * (hits[wanted] / total if total else 0.5)
