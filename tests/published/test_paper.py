import pytest

from mllctl.published import paper_models, paper_results, paper_slips

INB = [
    *(0.8599, 0.3121, 0.1262, 0.6787, 0.1940, 0.8761, 0.7956, 0.9401, 0.5332),
    *(0.2859, 0.9553, 0.5391, 0.6139, 0.5199, 0.9487, 0.9889, 0.7702),
]


def of(table, method):
    return [r for r in paper_results() if (r.table, r.method, r.metric) == (table, method, "accuracy")]


def test_the_first_row_of_table_1_is_as_printed():
    *cells, average = of(1, "INB")
    assert [cell.value for cell in cells] == INB
    assert (average.dataset, average.value) == (None, 0.6434)
    assert average.value == pytest.approx(sum(INB) / 17, abs=0.00005)


def test_every_method_of_tables_1_and_2_has_the_17_targets_and_an_average():
    targets = {cell.dataset for cell in of(1, "INB")}
    assert len(targets) == 17 + 1
    for table, k in ((1, 1), (2, 3)):
        for method in ("INB", "ModelGPT", "Proposal"):
            assert {cell.dataset for cell in of(table, method)} == targets
            assert {cell.k for cell in of(table, method)} == {k}


def test_tables_3_and_4_are_curves_of_averages():
    assert [(r.alpha, r.value) for r in of(3, "Proposal")] == list(
        zip((0.5, 0.6, 0.7, 0.8, 0.9), (0.6569, 0.6571, 0.6620, 0.6600, 0.6590), strict=True)
    )
    assert [r.k for r in of(4, "Proposal")] == [1, 2, 3, 4, 5, 6]


def test_two_printed_averages_are_not_those_of_their_cells():
    assert [str(slip) for slip in paper_slips()] == [
        "Table 1, Proposal, k = 1: prints 0.6620, its cells average 0.6644",
        "Table 2, INB, k = 3: prints 0.6498, its cells average 0.6486",
    ]


def test_the_hub_is_in_the_order_of_table_6():
    assert paper_models()[0] == "RN50/openai"
    assert paper_models()[48] == "nllb-clip-base-siglip/v1"
