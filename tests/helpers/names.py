"""Made-up names that identify somebody, and names as microscopes, archives and datasets give them."""

import random
from collections.abc import Callable, Iterator

Chance = random.Random

# Half of them not among the names that the program knows, as it is with real people.
_GIVEN = (
    *("Maria", "John", "Anna", "Mehmet", "Olga", "Pierre", "Ingrid", "Carlos", "Priya", "Stefan"),
    *("Okonkwo", "Siobhán", "Eerika", "Thandiwe", "Ludmilla", "Brynhild", "Casimir", "Odalys", "Kwabena", "Tuuli"),
)
_FAMILY = (
    *("Garcia", "Smith", "Müller", "Nowak", "Jansson", "Dubois", "Rossi", "Tanaka", "Patel", "Silva"),
    *(
        "Achterberg",
        "Fitzwilliam",
        "Mbeki",
        "Quisling",
        "Trondheim",
        "Obermoser",
        "Llewellyn",
        "Kvist",
        "Dzurko",
        "Abaroa",
    ),
)
_DECORATIONS = ("{}", "{}.png", "slide_{}", "{}_100X", "{} 2", "case {}", "{}-HE.tif", "scan_{}_3")


def identifying_examples(seed: int, number: int) -> Iterator[tuple[str, str]]:
    """Make names that identify a person, each with the kind of what is in it."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    for place in range(number):
        kind, make = _KINDS[place % len(_KINDS)]
        yield kind, chance.choice(_DECORATIONS).format(make(chance))


def usual_names(seed: int, number: int) -> Iterator[str]:
    """Make names as BreaKHis and as archives, microscopes and phones give them."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    for place in range(number):
        yield _breakhis(chance) if place % 2 else _plain(chance)


def _name(chance: Chance) -> str:
    given, family = chance.choice(_GIVEN), chance.choice(_FAMILY)
    form = chance.choice(("{g}_{f}", "{f}, {g}", "{g} {f}", "{f}^{g}", "{f}-{g}", "{g}{f}", "{f}_{g}"))
    name = form.format(g=given, f=family)
    return chance.choice((name, name, name, name.upper(), name.lower()))


def _titled(chance: Chance) -> str:
    return f"{chance.choice(('Dr.', 'Mrs', 'Herr', 'Frau', 'Mme', 'Prof. Dr.', 'Sra.'))} {chance.choice(_FAMILY)}"


def _birth(chance: Chance) -> str:
    year, month, day = chance.randint(1925, 2005), chance.randint(1, 12), chance.randint(1, 28)
    forms = ("{y}-{m:02}-{d:02}", "{d:02}.{m:02}.{y}", "{m}/{d}/{y}", "{y}{m:02}{d:02}", "{d:02}{m:02}{y}")
    more = ("{d}.{m}.{s:02}", "DOB {d}/{m}/{s:02}", "{d:02}-{m:02}-{y}", "geb. {d}.{m}.{y}", "{y}_{m:02}_{d:02}")
    return chance.choice(forms + more).format(y=year, m=month, d=day, s=year % 100)


def _digits(chance: Chance, pattern: str) -> str:
    return "".join(str(chance.randrange(10)) if sign == "#" else sign for sign in pattern)


def _phone(chance: Chance) -> str:
    return _digits(chance, chance.choice(("+49 17# #######", "+44 20 #### ####", "020-#### ####", "(415) 555-#### ", "06 12 34 ## ##")))  # fmt: skip # noqa: E501


def _record(chance: Chance) -> str:
    return _digits(chance, chance.choice(("MRN #######", "mrn_######", "PID-0012####", "UHID######", "##########")))


def _national(chance: Chance) -> str:
    patterns = (
        "2##-4#-1###",
        "756.####.####.##",
        "1 8# 05 75 ### ### ##",
        "8#1218-####",
        "12 1#0265 M 00#",
        "###.###.###-##",
    )
    return _digits(chance, chance.choice(patterns))


def _nhs(chance: Chance) -> str:
    while True:
        digits = _digits(chance, "#########")
        check = 11 - sum(int(d) * (10 - n) for n, d in enumerate(digits)) % 11
        if check != 10:
            number = f"{digits}{check % 11}"
            return f"{number[:3]} {number[3:6]} {number[6:]}"


def _mail(chance: Chance) -> str:
    return f"{chance.choice(_GIVEN).lower()}.{chance.choice(_FAMILY).lower()}@example.org"


_KINDS: tuple[tuple[str, Callable[[Chance], str]], ...] = (
    *(("name", _name), ("name", _name), ("name", _name), ("title", _titled), ("date", _birth), ("date", _birth)),
    *(("phone", _phone), ("record", _record), ("national", _national), ("NHS", _nhs), ("mail", _mail)),
)


def _breakhis(chance: Chance) -> str:
    kind = chance.choice(("B_A", "B_F", "B_PT", "B_TA", "M_DC", "M_LC", "M_MC", "M_PC"))
    patient = _digits(chance, chance.choice(("##-####", "##-#####", "##-#####AB", "##-#####CD", "##-####G")))
    return f"SOB_{kind}-{patient}-{chance.choice((40, 100, 200, 400))}-{chance.randint(1, 60):03}.png"


def _plain(chance: Chance) -> str:
    forms = (
        *(
            "C-####",
            "S##-####",
            "H##.######",
            "B20##-#####",
            "IMG_####.JPG",
            "DSC#####.jpg",
            "scan_20x_#",
            "P10#####.tif",
        ),
        *(
            "##-S-#####",
            "image ##.png",
            "Snapshot-##.czi",
            "case_##_HE_40x",
            "Left breast ##",
            "TCGA-A#-A0##-01Z",
            "Slide#",
        ),
    )
    return _digits(chance, chance.choice(forms))
