"""The scheme grammar."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgq_bench.errors import UserError
from fgq_bench.quant.scheme import BITS, Scheme

flag = st.booleans()
schemes = st.builds(
    Scheme, st.sampled_from(BITS), st.sampled_from(BITS), st.none() | st.integers(1, 512), flag, flag, flag, flag
)


@given(schemes)
def test_text_round_trip(scheme: Scheme) -> None:
    assert Scheme.parse(str(scheme)) == scheme


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("w4", "not of the form"),
        ("w٤a٤", "not of the form"),
        ("w4a4g١٢٨", "not of the form"),
        ("w4a4g" + "9" * 5000, "not of the form"),
        ("W4A4", "not of the form"),
        ("w5a4", "5 bits are not supported"),
        ("w4a4g0", "group size must be positive"),
        ("w4a4-wasym-wasym", "given twice"),
        ("w4a4-fast", "not of the form"),
        ("", "not of the form"),
    ],
)
def test_bad_scheme_is_explained(text: str, fault: str) -> None:
    with pytest.raises(UserError, match=fault):
        Scheme.parse(text)


def test_group_that_does_not_divide_names_the_layer() -> None:
    with pytest.raises(UserError, match=r"group size 128 does not divide the 192 inputs of a\.b"):
        Scheme.parse("w4a16g128").groups_of(192, "a.b")


def test_float_scheme() -> None:
    assert Scheme.parse("w16a16").is_float
    assert not Scheme.parse("w16a8").is_float
