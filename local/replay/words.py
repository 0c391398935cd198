"""Invented words in the scripts of the wikis, so that nothing real is ever said by an invented event.

The surprising thing: syllables are drawn, not words; a word that means something in some language is an accident.
"""

import random

_LATIN = "ba be bi bo bra cal cor da del dor en er fa fen fil gar gel gon har hel il ka kel kor la len lin lor ma mel mir mon na nel nor or pa pel por ra rel rin ros sa sel sil tan tel tor u va vel vin wa wil yor za zel".split()  # noqa: E501, SIM905 - one line a script reads best
_SCRIPTS = {
    "latin": _LATIN,
    "accented": "á bë çà dé è fí gö hü ï jå kø łe mã ñe ôr pő řa šu tě ů vï wá ý žu ał în ça ße".split(),  # noqa: SIM905
    "vietnamese": "bà cỏ đị ể giã hờ kĩ lữ mỵ nở ổ phẽ quả rừ sậ tũ ủ vẫ xỉ yế".split(),  # noqa: SIM905
    "cyrillic": "ба ве го до ел жи за ил ка ло ма не ор пи ро са те ур фа хо ши ян ёл".split(),  # noqa: SIM905
    "arabic": "با تو جي حل در زم سا شو طب عن فا قل كم لو مي نر هو يا".split(),  # noqa: SIM905
    "hebrew": "אב בל גו דר הי וא זמ חל טו יר כא לב מי נו סר עד פי צא קו רש שי תל".split(),  # noqa: SIM905
    "han": list("山川木水火土日月石田雲雨風花草竹林森海湖河島城市東西南北中大小新古明白青紅"),
    "kana": "か き く け こ さ し す せ そ た ち つ て と な に の は ま み も ら り る れ ろ わ".split(),  # noqa: SIM905
    "hangul": list("가나다라마바사아자차카타파하강산들물불풀꽃별달"),
    "devanagari": "का खि गु चे जो टा डि तु दे नो पा बि मु ये रो ला वि सु हे".split(),  # noqa: SIM905
    "bengali": "কা খি গু চে জো টা ডি তু দে নো পা বি মু".split(),  # noqa: SIM905
    "tamil": "கா சி டு தே நோ பா மி யு ரே லோ வா".split(),  # noqa: SIM905
    "thai": "กา ขิ คุ เง จอ ชา ดิ ตุ เท นอ บา ปิ มุ เย รอ".split(),  # noqa: SIM905
    "greek": "αλ βε γι δο ερ ζη θα ικ κο λυ μα νε ξι ορ πα".split(),  # noqa: SIM905
    "armenian": "աբ գե դի եր զո էլ թա ժի իկ լո խա".split(),  # noqa: SIM905
    "myanmar": "က ခ ဂ စ ဆ တ ထ န ပ ဖ ဗ မ ရ လ ဝ သ ဟ".split(),  # noqa: SIM905
}
_LANGUAGES = {
    "vietnamese": "vi",
    "cyrillic": "ru uk be be-tarask bg mk sr ce kk",
    "arabic": "ar fa ur ckb",
    "hebrew": "he",
    "han": "zh zh-yue",
    "kana": "ja",
    "hangul": "ko",
    "devanagari": "hi mr",
    "bengali": "bn as",
    "tamil": "ta",
    "thai": "th",
    "greek": "el",
    "armenian": "hy",
    "myanmar": "my mnw",
    "accented": "cs pl hu tr fr es pt de sv no da fi et lt ro az ca",
}
_SCRIPT_OF = {language: script for script, languages in _LANGUAGES.items() for language in languages.split()}


def invent_word(rng: random.Random, language: str) -> str:
    """One word in the language's script; accented languages mix plain syllables in."""
    script = _SCRIPT_OF.get(language, "latin")
    syllables = _SCRIPTS[script]
    if script == "accented":
        parts = [rng.choice(syllables if rng.random() < 0.35 else _LATIN) for _ in range(rng.randint(2, 4))]
    else:
        parts = [rng.choice(syllables) for _ in range(rng.randint(1 if script in ("han", "hangul") else 2, 4))]
    return "".join(parts)


def invent_words(rng: random.Random, language: str, count: int) -> list[str]:
    """`count` different words, most of them capitalised."""
    found: dict[str, None] = {}
    while len(found) < count:
        word = invent_word(rng, language)
        found.setdefault(word.capitalize() if rng.random() < 0.7 else word)
    return list(found)
