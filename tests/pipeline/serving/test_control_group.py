"""The control group: a stable random share by the id alone."""

import pandas as pd

from pipeline.serving.control_group import control_group

CUSTOMERS = pd.Series([f"c{number}" for number in range(20_000)])


def test_the_share_is_random_stable_and_only_grows() -> None:
    tenth, fifth = (control_group(CUSTOMERS, share, 0) for share in (0.1, 0.2))
    assert abs(tenth.mean() - 0.1) < 0.01
    assert (fifth >= tenth).all()
    halves = control_group(pd.concat([CUSTOMERS, CUSTOMERS])[::-1], 0.1, 0)
    assert halves.groupby(level=0).nunique().eq(1).all()
    assert halves[~halves.index.duplicated()].sort_index().tolist() == tenth.tolist()
    assert 0.05 < control_group(CUSTOMERS, 0.1, 1)[tenth == 1].mean() < 0.15  # another seed, another group


def test_without_a_share_there_is_no_group() -> None:
    assert control_group(CUSTOMERS, 0.0, 0).isna().all()
