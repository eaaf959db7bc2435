"""What a site has chosen for a model version; with the bytes of an image, it decides what the answer is."""

from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from core.card import Card
from db import store


@dataclass(frozen=True, slots=True)
class SitePolicy:
    """What this site uses instead of what the card says; None where it has chosen nothing."""

    threshold: float | None = None

    def apply(self, card: Card) -> Card:
        """Return the card by which this site uses the network."""
        return card if self.threshold in (None, card.threshold) else replace(card, threshold=self.threshold)


def read_site_policy(session: Session, model_version: str) -> SitePolicy:
    """Return what this site has chosen for a model version."""
    return SitePolicy(store.models.site_threshold_value(session, model_version))
