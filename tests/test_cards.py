"""Cards: strict, and errors that point at the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from fgq_bench.cards import KINDS, DatasetCard, MethodCard, card_names, load_card, parse_card
from fgq_bench.errors import UserError
from fgq_bench.registry import find_method

GOOD = Path(__file__).parents[1] / "methods" / "rtn.toml"


@pytest.mark.parametrize("kind", list(KINDS))
def test_all_cards_are_valid(kind: str) -> None:
    assert card_names(kind)
    for name in card_names(kind):
        assert load_card(KINDS[kind], name).name == name


@pytest.mark.parametrize("name", card_names("methods"))
def test_every_preset_builds_its_quantizer(name: str) -> None:
    for preset in ("", *load_card(MethodCard, name).presets):
        find_method(f"{name}:{preset}" if preset else name).quantizer()


def broken(tmp_path: Path, old: str, new: str) -> str:
    text = GOOD.read_text()
    assert old in text
    path = tmp_path / "rtn.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(UserError) as caught:
        parse_card(MethodCard, path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


def test_unknown_key(tmp_path: Path) -> None:
    message = broken(tmp_path, "algorithm = 1", "algorithm = 1\nalgoritm = 2")
    assert message.startswith(":6: key 'algoritm': is not a key of a MethodCard; keys: name, title")


def test_wrong_type(tmp_path: Path) -> None:
    assert broken(tmp_path, "algorithm = 1", 'algorithm = "one"').startswith(":5: key 'algorithm': Input should be")


def test_missing_key(tmp_path: Path) -> None:
    assert broken(tmp_path, "algorithm = 1\n", "") == ":1: key 'algorithm': is missing"


def test_syntax_error(tmp_path: Path) -> None:
    assert "line 5" in broken(tmp_path, "algorithm = 1", "algorithm =")


def test_name_differs_from_the_file(tmp_path: Path) -> None:
    assert broken(tmp_path, 'name = "rtn"', 'name = "rnt"') == ":1: key 'name': must be the file's name, 'rtn'"


def test_unknown_names_are_suggested() -> None:
    with pytest.raises(UserError, match="unknown method 'rnt'; did you mean rtn"):
        load_card(MethodCard, "rnt")
    with pytest.raises(UserError, match="unknown dataset 'zzz'; known: 7scenes, co3dv2, co3dv2-train, "):
        load_card(DatasetCard, "zzz")
    with pytest.raises(UserError, match="unknown preset of rtn 'paper'; known: none"):
        find_method("rtn:paper")


def test_a_card_with_another_quantizer_has_another_identity(tmp_path: Path) -> None:
    """Under its old name, whether the card lies elsewhere or was changed in place; each built-in one keeps its key."""
    path = tmp_path / "rtn.toml"
    text = GOOD.read_text()
    path.write_text(text)
    own = find_method(str(path)).identity()
    assert own == find_method("rtn").identity() == {"name": "rtn", "algorithm": 1, "options": {}}
    path.write_text(text.replace("quantizers.rtn:RTN", "quantizers.quarot:QuaRot"))
    assert find_method(str(path)).identity() == {**own, "quantizer": "fgq_bench.quantizers.quarot:QuaRot"}
    path = tmp_path / "fgq.toml"
    path.write_text((GOOD.parent / "fgq.toml").read_text().replace("fgq:FGQ", "fgq:FlatQuant"))  # imported there, only
    assert find_method(str(path)).identity()["quantizer"] == "fgq_bench.quantizers.flatquant:FlatQuant"
    assert all("quantizer" not in find_method(name).identity() for name in card_names("methods"))
