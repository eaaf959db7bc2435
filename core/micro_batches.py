"""One owner of the network: the patches of several images at once become batches, some images before others."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from core.card import Card
from core.pipeline import MagnificationClassifier, PatchClassifier, ScopeJudge
from core.results import NoResultError, Patches, PatchFindings, Priority, RgbImage

# Of so many batches, and of so many images, one goes to a cohort although somebody waits, so that it goes on.
_SHARE_OF_COHORTS = 5


class CancelledAnalysisError(Exception):
    """Nobody waits for this analysis any more, so it was not finished."""


def _never() -> bool:
    return False


class NetworkOwner:
    """The only thread that uses the network; others analyse images beside each other with `classifier`.

    An image that somebody waits for goes, if it is alone, through the network in the same batches as without an owner,
    and gets the same bits. Patches of several images share a batch if the same network looks at them in the same way;
    then the last bits of a result depend on its neighbours, as they do on the size of a batch.
    """

    def __init__(self, classifier: MagnificationClassifier, *, batch: int, wait_seconds: float = 0.0) -> None:
        """Start the thread.

        Args:
            classifier: The network with its card.
            batch: The most patches that go through it at once.
            wait_seconds: How long a batch that is not full waits for more patches.
        """
        if batch < 1:
            raise ValueError(f"a batch has one patch or more, not {batch}")
        self._classifier = classifier
        self._batch = batch
        self._wait_seconds = wait_seconds
        self._networks: dict[tuple[str, str | None], PatchClassifier] = {}
        self._lanes: dict[Priority, deque[_Waiting]] = {"interactive": deque(), "cohort": deque()}
        self._since_cohort = 0  # batches
        self._passed_cohort = 0  # images
        self._in_hand = 0  # images that somebody waits for
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)
        self._thread.start()

    def classifier(
        self, priority: Priority = "interactive", is_cancelled: Callable[[], bool] = _never
    ) -> "SharedClassifier":
        """Return a classifier that hands its patches to this owner and waits for what it finds."""
        return SharedClassifier(self, self._classifier.card, priority, is_cancelled)

    @contextmanager
    def image(
        self, priority: Priority = "interactive", is_cancelled: Callable[[], bool] = _never
    ) -> Iterator["SharedClassifier"]:
        """Return a classifier for one image, from its decoding to its maps; an image of a cohort waits for its turn.

        Decoding and stitching take the processor too, from the images that somebody waits for.
        """
        with self._changed:
            if priority == "cohort":
                self._changed.wait_for(lambda: self._closed or is_cancelled() or self._is_turn_of_cohort())
                self._passed_cohort = 0
            else:
                self._in_hand += 1
                self._passed_cohort += 1
                self._changed.notify_all()
        try:
            yield self.classifier(priority, is_cancelled)
        finally:
            if priority == "interactive":
                with self._changed:
                    self._in_hand -= 1
                    self._changed.notify_all()

    def _is_turn_of_cohort(self) -> bool:
        return self._in_hand == 0 or self._passed_cohort >= _SHARE_OF_COHORTS - 1

    def close(self) -> None:
        """Finish the batch in hand; whoever still waits gets a CancelledAnalysisError."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        for lane in self._lanes.values():
            while lane:
                lane.popleft().found.set_exception(CancelledAnalysisError("the network was closed"))

    def network(self, card: Card, magnification: str | None) -> PatchClassifier:
        """Return the one classifier for all images of this magnification by this card, whatever its threshold."""
        known = magnification if card.magnification == "input" else None
        key = (replace(card, threshold=0.5).to_json(), known)
        with self._changed:
            if key not in self._networks:
                self._networks[key] = self._classifier.with_card(card).at(magnification)
            return self._networks[key]

    def examine(self, waiting: "_Waiting", priority: Priority) -> PatchFindings:
        """Return what the network finds in these patches, when it is their turn.

        Raises:
            NoResultError: If an output is not a finite number.
            CancelledAnalysisError: If nobody waits for it any more.
        """
        with self._changed:
            if self._closed:
                raise CancelledAnalysisError("the network was closed")
            self._lanes[priority].append(waiting)
            self._changed.notify_all()
        return waiting.found.result()

    def _run(self) -> None:
        while batch := self._next_batch():
            self._examine(batch)

    def _next_batch(self) -> "list[_Share]":
        """Return what goes through the network next; nothing once this owner is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._drop_cancelled())
            if self._closed:
                return []
            lane = self._next_lane()
            if self._wait_seconds and sum(one.left for one in lane) < self._batch:
                self._changed.wait_for(lambda: sum(one.left for one in lane) >= self._batch, self._wait_seconds)
            return self._take(lane)

    def _drop_cancelled(self) -> bool:
        """End the wait of those that were cancelled; return whether others wait."""
        for lane in self._lanes.values():
            for one in [one for one in lane if one.is_cancelled()]:
                lane.remove(one)
                one.found.set_exception(CancelledAnalysisError("nobody waits for this image any more"))
        return any(self._lanes.values())

    def _next_lane(self) -> "deque[_Waiting]":
        interactive, cohort = self._lanes["interactive"], self._lanes["cohort"]
        if cohort and (not interactive or self._since_cohort >= _SHARE_OF_COHORTS - 1):
            self._since_cohort = 0
            return cohort
        self._since_cohort += 1 if cohort else 0
        return interactive

    def _take(self, lane: "deque[_Waiting]") -> "list[_Share]":
        """Take up to a batch of patches from the images that the network of the first looks at in the same way."""
        # Whoever comes waits for the batch in hand, so those of a cohort are half as large.
        room = self._batch if lane is self._lanes["interactive"] else max(1, self._batch // 2)
        first, shares = lane[0], []
        for one in [one for one in lane if one.network is first.network and one.evidence == first.evidence]:
            if room == 0:
                break
            taken = min(room, one.left)
            shares.append(_Share(one, one.patches[one.taken : one.taken + taken]))
            one.taken += taken
            room -= taken
            if one.left == 0:
                lane.remove(one)
        return shares

    def _examine(self, shares: "list[_Share]") -> None:
        network, evidence = shares[0].of.network, shares[0].of.evidence
        try:
            found = network.examine(np.concatenate([share.patches for share in shares]), evidence=evidence)
        except NoResultError as error:
            if len(shares) == 1:
                self._fail(shares[0].of, error)
            else:  # one image without a result must not take that of its neighbours
                for share in shares:
                    self._examine([share])
        except Exception as error:
            for share in shares:
                self._fail(share.of, error)
        else:
            start = 0
            for share in shares:
                share.of.add(found.cut(start, start + len(share.patches)))
                start += len(share.patches)

    def _fail(self, one: "_Waiting", error: Exception) -> None:
        with self._changed:
            for lane in self._lanes.values():
                if one in lane:
                    lane.remove(one)
        one.found.set_exception(error)


@dataclass(frozen=True, slots=True)
class SharedClassifier:
    """A classifier whose network belongs to an owner; what it needs of the image alone it does in its own thread."""

    owner: NetworkOwner
    card: Card
    priority: Priority
    is_cancelled: Callable[[], bool]
    magnification: str | None = None

    @property
    def scope(self) -> ScopeJudge | None:
        """What knows how unlike the training images an image is."""
        return self._network.scope

    def normalise(self, image: RgbImage) -> RgbImage:
        """Bring the colours of an image to the training set's."""
        return self._network.normalise(image)

    def examine(self, patches: Patches, *, evidence: bool) -> PatchFindings:
        """Return what the network finds in the patches, when it is their turn.

        Raises:
            NoResultError: If an output is not a finite number.
            CancelledAnalysisError: If nobody waits for it any more.
        """
        return self.owner.examine(_Waiting(self._network, patches, evidence, self.is_cancelled), self.priority)

    def at(self, magnification: str | None) -> "SharedClassifier":
        """Return the same classifier for images of one magnification."""
        return replace(self, magnification=magnification)

    def with_card(self, card: Card) -> "SharedClassifier":
        """Return a classifier with the same network and another card."""
        return replace(self, card=card)

    @property
    def _network(self) -> PatchClassifier:
        return self.owner.network(self.card, self.magnification)


@dataclass(slots=True, eq=False)
class _Waiting:
    """The patches of one image on their way through the network."""

    network: PatchClassifier
    patches: Patches
    evidence: bool
    is_cancelled: Callable[[], bool]
    taken: int = 0
    parts: list[PatchFindings] = field(default_factory=list)
    found: Future[PatchFindings] = field(default_factory=Future)

    @property
    def left(self) -> int:
        """How many patches have not begun."""
        return len(self.patches) - self.taken

    def add(self, part: PatchFindings) -> None:
        """Add what was found in the next patches; with the last, whoever waits gets all."""
        self.parts.append(part)
        if self.left == 0:
            self.found.set_result(PatchFindings.join(self.parts))


@dataclass(frozen=True, slots=True)
class _Share:
    """The patches of one image in a batch."""

    of: _Waiting
    patches: Patches
