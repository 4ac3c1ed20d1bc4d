import pytest


def test_a_limit_leaves_models_out_and_says_why(run, hubs):
    arguments = ("select", "--class", "dog", "--class", "cat", "--hub", hubs.labelled)
    some = run(*arguments, "--models", "fake/[01]", "--json")
    assert [model["model"] for model in some.json["models"]] == ["fake/0", "fake/1"]
    assert some.json["left_out"] == [{"model": "fake/2", "reason": "its name is not like fake/[01]"}]
    assert "fake/2 is left out: its name is not like fake/[01]" in some.err


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--max-latency", "1ms", "loosen --max-latency first"),
        ("--license", "MIT", "loosen --license first"),
        ("--models", "ViT-*", "loosen --models first"),
        ("--max-params", "many", "is no amount; write it as 150M"),
        ("--cost", "beauty", "--cost must be one of params, gflops, size, latency"),
        ("--match", "guess", "--match must be one of wordnet, caption"),
        ("--estimator", "guess", "--estimator must be one of shrunk, paper"),
        ("--max-models", "0", "max models must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_met_is_refused_in_one_line(run, hubs, option, value, said):
    refused = run("select", "--class", "dog", "--hub", hubs.labelled, option, value)
    assert refused.code == 2
    assert said in refused.err


def test_quality_by_cost_is_a_table_and_a_plot(run, hubs, tmp_path):
    plot = tmp_path / "plot.svg"
    arguments = ("select", "--class", "dog", "--class", "cat", "--hub", hubs.labelled, "--plot", plot)
    shown = run(*arguments)
    assert "best for its cost" in shown.out
    assert plot.read_text().startswith("<svg")
    again = run(*arguments)
    assert again.code == 1
    assert "is there already; name a new file" in again.err
