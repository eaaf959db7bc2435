"""Detect words and numbers that may identify a person, so that the user can check a name before it is stored.

This is a warning, not proof either way. It detects common given names and family names of many countries (in any
letter case), two adjacent capitalised words, titles, full dates, e-mail addresses, phone numbers, the identity
numbers of some countries, medical record numbers, and runs of nine or more digits. It misses rare names that
stand alone, are run together or are not capitalised as names; names that are also words (Rose Brown); initials;
names in non-Latin letters; short hospital numbers without a word before them; addresses; and numbers that are
spelled out.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from datetime import date
from itertools import pairwise

_GIVEN = """
    aaron abdul abdullah abigail adam adele adrian adriana agata agnes agnieszka ahmed ahmet aicha aisha alain
    albert alberto alejandra alejandro aleksander aleksandra alessandra alessandro alexander alexandra alexis alfred
    alfredo ali alice alicia alina allison amal amalia amanda amelie amina amir amit ana anastasia andrea andreas
    andreea andrei andrew andrzej angela angelica anita anja anke anna anne annette annika anouk anthony antoine
    anton antonia antonio arjun arnaud arthur astrid aurelie axel ayse barbara bartosz beatrice beatriz benjamin
    bernard bernd bettina birgit bjorn bogdan brigitte bruno camila camille carla carlos carmen carolina caroline
    catarina catherine cecilia chantal charles charlotte chiara chloe christa christian christina christine
    christoph christopher claire clara claudia claudio clement cornelia cristina daniel daniela daniele danielle
    david deborah delphine denise dennis diana diego dieter dimitri dirk dmitri dominik dominique dorota dorothea
    eduardo edward ekaterina elena eleonora elif elisa elisabeth elise elizabeth ella elodie emil emilia emilie
    emily emine emma emmanuel enrico enrique eric erika ernst esther eugenia eva evelyn fabian fabio farid fatima
    fatma federica federico felipe felix fernanda fernando filip florence florian francesca francesco francisco
    francois francoise franz frederic friedrich gabriel gabriela gabriele genevieve georg george georges gerard
    gerhard gertrud giacomo giorgio giovanna giovanni giulia giuseppe gloria gonzalo greta grzegorz guillaume gustav
    hamid hanna hannah hans harald hassan heike heinrich heinz helen helena helga helmut henri henrik henry herbert
    hiroshi horst hugo hussein ibrahim ines inga ingeborg ingrid irena irene irina isabel isabella isabelle ivan
    ivana jacek jacob jacqueline jacques jakob jakub james jana janet jasmin javier jean jeanne jennifer jens jeremy
    jessica joanna joao joel johan johann johanna johannes john jonas jonathan jordi jorge jose josef joseph
    josephine juan juana judith julia julian juliana julie julien juliette jurgen justyna kamil karen karin karl
    karla karolina katarina katarzyna kate katharina katherine kathleen katja kemal kenji kerstin kevin khalid klaus
    krzysztof kumar lars laura laurent lea leila lena leon leonardo liam lidia liliana linda lisa lorenzo louis
    louise luca lucas lucia luciana ludwig luis luisa lukas lukasz maarten madeleine magdalena mahmoud maja
    malgorzata manfred manuel manuela marc marcel marcin marco marcos margaret margarethe margarita margit maria
    mariam mariana marianne marie marija marina mario marion marta martha martin martina mary mateusz mathias
    mathieu matteo matthew matthias matthieu maurice mehmet melanie mercedes michael michaela michal michel michele
    miguel mikael mikhail milan milena mohamed mohammad mohammed monica monika monique muhammad murat mustafa nadia
    nadine nancy natalia natalie natasha nathalie nicolas nicole niels nikolai nina noah noemi nora norbert olaf
    oleg olga oliver olivia olivier oscar otto pablo pamela paola paolo pascal patricia patrick patrik paul paula
    paulina paulo pavel pedro petra philippe pierre piotr priya rachel rachida radek rafael rahul rainer rajesh ralf
    ramon raphael raquel rebecca regina reinhard renata renate ricardo riccardo richard rita robert roberta roberto
    rodrigo roland ronald rosario rudolf ruth sabine sabrina salma samuel sandra sanjay sara sarah sebastian sergei
    sergio sharon silvia simon simona simone sofia sonia sophia sophie stefan stefania stefanie stephan stephanie
    stephen steven suzanne sven svetlana sylvia sylvie takashi tanja tatiana teresa theodor theresa thierry thomas
    thorsten tiago tobias tomas tomasz torsten ulrich ulrike ursula uwe valentina valerie vanessa vera veronica
    veronika vicente victoria viktor viktoria vincent vincenzo virginia vladimir walter werner wilhelm william
    wojciech wolfgang xavier yasmin yolanda yuki yusuf yvonne zainab zofia
"""
_FAMILY = """
    abbas adams agarwal ahmad almeida alvarez alves anders andersen anderson andersson aydin bailey bakker bauer
    becker bennett bergmann bernardi bertrand bianchi bonnet brandt braun campbell cardoso carlsson carter carvalho
    castillo castro chaudhary cheng clarke collins colombo conti cruz davies davis delgado demir dijkstra dubois
    dupont durand eriksson evans fernandes fernandez ferrari ferreira fischer fontana fournier friedrich fuchs
    garcia gartner gauthier gomes gomez gonzales gonzalez greco gruber guerrero gupta gutierrez haas hansen hansson
    harris hartmann hernandez herrera herrmann hoffmann hofmann horvath huber hughes iglesias ivanov ivanova iyer
    jackson jansen jansson jensen jimenez johansen johansson johnson jones kaiser kaminski kaya keller kelly khan
    kimura klein koch kowalczyk kowalski kozlov kraus kruger kuznetsov lambert lange larsen larsson lefebvre lehmann
    lewandowski lewis lindberg lopes lopez lorenz ludwig lundberg maier marchand mariani marino marques martinez
    martini martins mathieu mayer mazur mehta mendes mendez mendoza merkel meyer michel miller mitchell mohammadi
    molina moore morales moreau moreira moreno moretti morgan morris mueller muller murphy nair navarro nelson
    neumann nguyen nielsen nilsson novak nowak nunes oliveira olsen olsson ortega ortiz ozturk papadopoulos parker
    patel pedersen peeters pereira perez petersen petersson petrov petrova pham phillips pinto popescu popov
    pospisil ramirez ramos reddy reyes ribeiro ricci richter rivera roberts robinson rodrigues rodriguez rogers
    rojas romano romero rossi rousseau roux ruiz russo ryan sahin sanchez sanders santos sato schmid schmidt schmitt
    schneider scholz schroder schroeder schubert schulz schulze schuster schwarz seidel serrano sharma silva
    simonsen singh smirnov smith sokolov sousa stewart suarez suzuki svensson swanson szabo takahashi tanaka taylor
    thompson thomsen torres turner vargas vasquez vazquez verma vidal vogel volkov wagner walker watanabe watson
    weber wilson winkler wisniewski wojcik wong wozniak yamamoto yildirim yildiz yilmaz zhang zhao ziegler
    zimmermann
"""
_OTHER = """
    about adenocarcinoma adenosis after again all also and annotated aperio apocrine april are area around artefact
    artifact atypia atypical august axilla axillary axio bach batch before benign biopsy block bloom blue blurred
    border bowen breakhis breast bright brown calcification camelyon camera canon carcinoma carl case cells center
    centre chromatin clear clinic cluster cohort color colour comedo control copy core cowden cribriform crop
    crushed cyst cytology cytoplasm dark data dataset dcis december dense department differentiated duct ductal
    early edge edited ellis elston eosin exported faint fat february fibroadenoma fibrocystic fibrosis field figure
    file final fine first foamy focal focus fold for from gleason good grade gray green grey group haematoxylin
    hamamatsu hematoxylin high histo histology hospital hyperplasia idc image images in infiltrating inflammation
    insitu institute invasive is it january july june lab laboratory large late lcis left leica lesion level lipoma
    lobular low lower lymph magnification malignant map march margin margins mass may medium medullary metaplasia
    metaplastic micro microscope microscopic microscopy mitoses mitosis model more motic mucinous myoepithelial
    nanozoomer necrosis necrotic new next nikon no node nodule normal not nottingham november nuclear nuclei
    nucleoli nucleus october of old olympus one only or original overview paget pale papillary papilloma part patch
    pathology patient philips phyllodes pink plate poor poorly position possible preview probably pus quality quick
    read red region repeat report result review richardson right roche sample sarcoma scan scanned scanner scanning
    scanscope scarff sclerosing screenshot second section september series sharp sheet side site situ slide slides
    slight small smear snapshot solid some specimen stain stained stroma stromal study sub subject suspicious target
    tcga test the there these third this tile tissue too top training trial tubular tubule tubules tumor tumour two
    type typical unclear under university unknown untitled upper validation ventana very view violet weak well white
    whole with without yellow zeiss zone zoom
"""

GIVEN_NAMES = frozenset(_GIVEN.split())
SURNAMES = frozenset(_FAMILY.split())
# Two adjacent capitalised words are a name unless one of them is in this set.
OTHER_WORDS = frozenset(_OTHER.split())

_LONG_RUN = 9  # digits; shorter runs are ordinary numbers of images and cases
_SHORTEST_NAME = 3  # letters
_YEARS = range(1900, 2100)
# Names generated by a computer, such as a hash or a UUID: their digits have no meaning.
_MACHINE = re.compile(r"(?<![0-9a-z])(?=[0-9a-f-]*[a-f])[0-9a-f]{8}(?:-?[0-9a-f]{4}){2,14}(?![0-9a-z])", re.IGNORECASE)
_SEPARATOR = r"[\s_,.^+-]+"
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_TITLE = re.compile(
    r"(?<![^\W_])(?i:mrs?|miss|dr|prof|herrn?|frau|hr|mme|mlle|monsieur|madame|sra?|señora?|signora?|dhr|mevr|pani?)"
    r"[\s_.]+(?:[A-Z\u00c0-\u00de]\.?[\s_]*)?[A-Z\u00c0-\u00de][^\W\d_]+"
)
_NAMED = re.compile(
    r"(?<![^\W_])(?i:patient(?:in)?|pat|name|nom|nombre|nachname|vorname|surname|cognome)[\s_:=.-]+"
    r"([A-Z\u00c0-\u00de][^\W\d_]{2,})"
)
_MARKED_DATE = re.compile(r"(?<![^\W_])(?i:dob|d\.o\.b|born|birth|geb|geboren|née?|nato|nata|nacid[oa])\.?[\s_:=-]*\d")
_DATE = re.compile(r"(?<!\d)(\d{1,4})[-./_\s](\d{1,2})[-./_\s](\d{1,4})(?!\d)")
_SHORT_DATE = re.compile(r"(?<![\d./])(\d{1,2})([./])(\d{1,2})\2(\d{2})(?![\d./])")
_COMPACT_DATE = re.compile(r"(?<!\d)(\d{8})(?!\d)")
_MONTHS = "jan|feb|mar|mär|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez"
_WORD_DATE = re.compile(
    rf"(?<!\d)\d{{1,2}}[\s_.-]*(?:{_MONTHS})[a-z]*[\s_.,-]*(?:19|20)\d\d(?!\d)"
    rf"|(?<![^\W_])(?:{_MONTHS})[a-z]*[\s_.-]*\d{{1,2}}[\s_,]+(?:19|20)\d\d(?!\d)",
    re.IGNORECASE,
)
_MAIL = re.compile(r"[\w.+-]+@[\w-]+\.[a-z]{2,}", re.IGNORECASE)
_PHONE = re.compile(
    r"(?<![^\W_])(?<![+-])(?:\+|00)\d{1,3}[\s./()_-]*\d(?:[\s./()_-]*\d){6,11}(?!\d)"
    r"|(?<![^\W_])(?<!-)\(?\d{3}\)?[\s._-]\d{3}[\s._-]\d{4}(?![^\W_]|-)"
    r"|(?<![^\W_])(?<!-)\(?0\d{1,4}\)?[\s/_-]\d{3,8}(?:[\s_-]\d{2,4}){0,3}(?![^\W_]|-)"
    r"|(?<![^\W_])(?<![.-])0\d(?:[\s._-]\d\d){4}(?![^\W_]|-)"
)
_MARKED_PHONE = re.compile(r"(?<![^\W_])(?i:tel|phone|fon|mobile|handy|fax)[\s_.:]*[\d+(]")
_PHONE_DIGITS = 9  # or more; an accession such as 05-00123 has fewer
_RECORD = re.compile(
    r"(?<![^\W_])(?i:mrn|pid|uhid|nhs|ssn|nir|ahv|avs|kvnr|bsn|cpf|pesel|medical[\s_]record|hosp(?:ital)?|fallnr|record|"
    r"insurance|passport|personnummer|cpr)[\s_]*(?i:no|nr|number|id)?[\s_.:#=-]*[A-Z]?\d{4,}"
)
_NUMBERS = (
    ("a social security number", re.compile(r"(?<![^\W_])(?<!-)(?!000|666|9)\d{3}([-_ ])(?!00)\d\d\1(?!0000)\d{4}"
                                            r"(?![^\W_]|-)")),
    ("a Swiss AHV number", re.compile(r"(?<!\d)756[. _]?\d{4}[. _]?\d{4}[. _]?\d{2}(?!\d)")),
    ("a French NIR", re.compile(r"(?<!\d)[12][ _]?\d\d[ _]?(?:0[1-9]|1[0-2]|[2-9]\d)[ _]?(?:\d\d|2[AB])[ _]?"
                                r"\d{3}[ _]?\d{3}(?:[ _]?\d\d)?(?!\d)")),
    ("a Brazilian CPF", re.compile(r"(?<!\d)\d{3}\.\d{3}\.\d{3}-\d\d(?!\d)")),
    ("an Italian codice fiscale", re.compile(r"(?<![^\W_])(?i:[A-Z]{6}\d\d[A-EHLMPRST]\d\d[A-Z]\d{3}[A-Z])(?![^\W_])")),
    ("a German pension insurance number", re.compile(r"(?<![^\W_])\d\d[ _]?\d{6}[ _]?[A-Z][ _]?\d{3}(?![^\W_])")),
)  # fmt: skip
_NORDIC = re.compile(r"(?<!\d)(?:19|20)?(\d\d)(\d\d)(\d\d)[-+A](\d{3})[0-9A-Y](?![^\W_])")
_NHS = re.compile(r"(?<!\d)(\d{3})[ _-]?(\d{3})[ _-]?(\d{4})(?!\d)")
_SPANISH = re.compile(r"(?<![^\W_])([XYZ]?)(\d{7,8})[- _]?([A-HJ-NP-TV-Z])(?![^\W_])", re.IGNORECASE)
_SPANISH_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"


def find_identifying_reasons(text: str) -> tuple[str, ...]:
    """Return the reasons why a text (an accession, a file name, a note) may identify a person; empty if there are none.

    The reasons are for the person who wrote the text, and never repeat any of it.
    """
    text = _MACHINE.sub(" ", unicodedata.normalize("NFC", text))
    return tuple(dict.fromkeys(reason for detect in _DETECTORS for reason in detect(text)))


def _detect_people(text: str) -> Iterator[str]:
    if _TITLE.search(text):
        yield "a title before a name"
    words = [(match.group(), match.start(), match.end()) for match in _WORD.finditer(text)]
    known = any(_plain(part) in GIVEN_NAMES | SURNAMES for word, _, _ in words for part in _parts(word))
    pair = any(_two_names(a, b, text[end:start]) for (a, _, end), (b, start, _) in pairwise(words))
    named = any(_plain(match[1]) not in OTHER_WORDS for match in _NAMED.finditer(text))
    if known or pair or named:
        yield "what looks like a person's name"


def _two_names(first: str, second: str, between: str) -> bool:
    """Return whether two adjacent words are capitalised as names are, as in "Garcia_Maria" or "Smith, John"."""
    if not re.fullmatch(_SEPARATOR, between):
        return False
    return all(
        len(word) >= _SHORTEST_NAME and word[0].isupper() and word[1:].islower() and _plain(word) not in OTHER_WORDS
        for word in (first, second)
    )


def _parts(word: str) -> list[str]:
    """Split a word such as "MariaGarcia" into itself and its parts."""
    return [word, *re.findall(r"[^\W\d_a-z\u00df-\u00ff][^\W\d_A-Z\u00c0-\u00de]+", word)]


def _plain(word: str) -> str:
    decomposed = unicodedata.normalize("NFKD", word.casefold().replace("ø", "o").replace("ł", "l"))
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def _detect_dates(text: str) -> Iterator[str]:
    triples = [match.groups() for match in _DATE.finditer(text)]
    triples += [(d, m, f"19{y}") for d, _, m, y in (match.groups() for match in _SHORT_DATE.finditer(text))]
    for (digits,) in (match.groups() for match in _COMPACT_DATE.finditer(text)):
        triples += [(digits[:4], digits[4:6], digits[6:]), (digits[:2], digits[2:4], digits[4:])]
    if _MARKED_DATE.search(text) or _WORD_DATE.search(text) or any(_is_date(*triple) for triple in triples):
        yield "a full date, perhaps of birth"


def _is_date(first: str, second: str, third: str) -> bool:
    """Return whether three numbers are a date in one of the usual orders, with a four-digit year."""
    a, b, c = int(first), int(second), int(third)
    orders = ((a, b, c), (c, b, a), (c, a, b))
    years = (first, third, third)
    return any(len(year) == len("1970") and _is_day(*order) for year, order in zip(years, orders, strict=True))


def _is_day(year: int, month: int, day: int) -> bool:
    try:
        return date(year, month, day).year in _YEARS
    except ValueError:
        return False


def _detect_contacts(text: str) -> Iterator[str]:
    if _MAIL.search(text):
        yield "an e-mail address"
    digit_counts = (sum(sign.isdigit() for sign in match.group()) for match in _PHONE.finditer(text))
    if _MARKED_PHONE.search(text) or any(digits >= _PHONE_DIGITS for digits in digit_counts):
        yield "a phone number"


def _detect_numbers(text: str) -> Iterator[str]:
    yield from (reason for reason, pattern in _NUMBERS if pattern.search(text))
    if any(_is_nhs("".join(match.groups())) for match in _NHS.finditer(text)):
        yield "an NHS number"
    if any(_is_nordic(*map(int, match.groups())) for match in _NORDIC.finditer(text)):
        yield "a personal identity number"
    if any(_is_spanish(*match.groups()) for match in _SPANISH.finditer(text)):
        yield "a Spanish identity number"
    if _RECORD.search(text):
        yield "a record or insurance number"
    if re.search(rf"\d{{{_LONG_RUN},}}", text):
        yield f"a number of {_LONG_RUN} digits or more"


def _is_nhs(digits: str) -> bool:
    """Check the last digit (https://www.datadictionary.nhs.uk/attributes/nhs_number.html)."""
    check = 11 - sum(int(digit) * (10 - place) for place, digit in enumerate(digits[:9])) % 11
    return len(set(digits)) > 1 and int(digits[9]) == check % 11


def _is_nordic(first: int, second: int, third: int, _: int) -> bool:
    """Check the date: Swedish numbers begin with the year (60 added to the day of some), Danish with the day."""
    return _is_day(2000, second, third % 60) or _is_day(2000, second, first)


def _is_spanish(letter: str, digits: str, check: str) -> bool:
    if len(digits) != (7 if letter else 8):
        return False
    number = int(f"{'XYZ'.index(letter.upper()) if letter else ''}{digits}")
    return _SPANISH_LETTERS[number % 23] == check.upper()


_DETECTORS: tuple[Callable[[str], Iterator[str]], ...] = (
    _detect_people,
    _detect_dates,
    _detect_contacts,
    _detect_numbers,
)
