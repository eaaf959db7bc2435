"""What a verification keeps of very many events is little, and loses nothing."""

import tracemalloc
from datetime import UTC, datetime

from db.audit.chain import GENESIS, Link
from db.audit.chain_check import ChainCheck, CheckedEvent
from db.audit.kept_events import Hashes, KeptSeals
from db.values.audit import Seal

_AT = datetime(2026, 1, 1, tzinfo=UTC)
_MOST_BYTES = 200  # of an event, whose values have more than a thousand


def _event(number: int, previous: str) -> CheckedEvent:
    seal = Seal(f"reads {number}", f"{number:064x}")
    link = Link(previous, number, _AT, 1, "case opened", f"C-{number}", seal)
    return CheckedEvent(link, link.hash, link.hash)


def test_a_hash_and_any_other_text_in_its_place_are_given_back() -> None:
    texts = ["ab" * 32, "", "AB" * 32, "no hash", "0" * 64, "é" * 64, "c" * 63]
    kept = Hashes()
    for text in texts:
        kept.append(text)
    assert [kept[place] for place in range(len(kept))] == texts


def test_seals_are_taken_once_and_the_rest_comes_in_the_order_of_its_first_events() -> None:
    kept = KeptSeals(["reads", "cases"])
    rows = ["cases 2", "reads 1", "reads 01", "others 1", "reads 1", "cases 1", "reads 1 2", f"reads {10**30}"]
    for event, of in enumerate(rows, start=1):
        kept.add(Seal(of, f"{event:064x}"), event)
    kept.order()
    assert [(one.seal, one.event) for one in kept.take("reads 1")] == [
        (Seal("reads 1", f"{2:064x}"), 2),
        (Seal("reads 1", f"{5:064x}"), 5),
    ]
    assert [one.event for one in kept.take("reads 01")] == [3]
    assert [kept.take(of) for of in ("reads 1", "reads 01", "reads 7", "nothing 1")] == [[]] * 4
    rest = [(of, [one.event for one in events]) for of, events in kept.take_rest()]
    assert rest == [
        ("cases 2", [1]),
        ("others 1", [4]),
        ("cases 1", [6]),
        ("reads 1 2", [7]),
        (f"reads {10**30}", [8]),
    ]


def test_of_a_whole_chain_few_bytes_are_kept() -> None:
    chain, seals, previous, events = ChainCheck(), KeptSeals(["reads"]), GENESIS, 3000
    tracemalloc.start()
    try:
        for number in range(1, events + 1):
            event = _event(number, previous)
            chain.add(event)
            seals.add(Seal(f"reads {number}", f"{number:064x}"), number)
            previous = event.hash
        seals.order()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert chain.findings() == []
    assert (chain.events.hash_of(7), chain.events.action_of(events + 1)) == (chain.events.hashes[6], None)
    assert kept < _MOST_BYTES * events
