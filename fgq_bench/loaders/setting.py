"""How a data set is read in one run: its own fixed way, or that of a protocol card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fgq_bench.cards import DatasetCard, ProtocolCard, ProtocolEntry, Scalar, card_names, load_card
from fgq_bench.errors import UserError


@dataclass(frozen=True)
class Setting:
    """A data set's protocol, resolved."""

    protocol: str  # name of the card, or words of a data set that has only one
    tasks: tuple[str, ...]
    image_size: int  # width, pixels
    options: dict[str, Scalar]  # for the loader
    entry: ProtocolEntry | None = None

    @classmethod
    def of(cls, card: DatasetCard, asked: str | None = None) -> Setting:
        """The setting of ``card`` under the protocol ``asked`` for, or its own; raises UserError for one it has not."""
        if card.image_size is not None:
            if asked is not None and asked != card.protocol:
                raise UserError(f"data set {card.name} has its own protocol ({card.protocol}), not {asked!r}")
            return cls(card.protocol, tuple(card.tasks), card.image_size, card.options)
        name = asked or card.protocol
        found = protocols_of(card.name)
        if name not in found:
            raise UserError(f"data set {card.name} has no protocol {name!r}; it has {', '.join(found) or 'none'}")
        entry = found[name]
        return cls(name, tuple(entry.tasks), entry.side, {**card.options, **entry.options}, entry)

    def identity(self) -> Any:
        """What decides frames and pictures, for result keys; never what is printed of the scores."""
        if self.entry is None:
            return self.protocol
        content = self.entry.model_dump(exclude={"tasks", "headline", "options", "notes"}, exclude_none=True)
        return {"name": self.protocol, **content}


def protocol_names(card: DatasetCard) -> list[str]:
    """What ``--protocol`` takes for a data set."""
    return [card.protocol] if card.image_size is not None else list(protocols_of(card.name))


def protocols_of(dataset: str) -> dict[str, ProtocolEntry]:
    """Entries for ``dataset`` by the name of their protocol card."""
    cards = {name: load_card(ProtocolCard, name) for name in card_names("protocols")}
    return {name: card.datasets[dataset] for name, card in cards.items() if dataset in card.datasets}
