"""Tables as others write them; the rows of open_clip, CLIP_benchmark and LOVM have the shape of theirs."""

import csv
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllctl.errors import SourceUnreadable
from mllctl.published import FORMATS, Result, matrix, read_results

OPEN_CLIP = """name,pretrained,params (M),FLOPs (B),Average perf. on 38 datasets,ImageNet 1k,Caltech-101,FMoW
EVA02-E-14,laion2b_s4b_b115k,4704.59,2311.42,0.6690,0.8196,0.9541,0.2801
convnext_base_w,laion2b_s13b_b82k_augreg,179.39,49.38,0.5835,0.7147,,0.0000
"""
CLIP_BENCHMARK = """acc1,acc5,mean_per_class_recall,dataset,model,pretrained,task,mean_average_precision,model_fullname
0.75,0.9,0.74,vtab/cifar100,ViT-B-32,openai,zeroshot_classification,,ViT-B-32 openai
,,,wds/voc2007_multilabel,ViT-B-32,openai,zeroshot_classification,0.76,ViT-B-32 openai
"""
LOVM = """,task,dataset,model_fullname,mean_per_class_recall,acc1
0,zeroshot_classification,cars,ViT-B-32 laion2b_e16,0.8441,0.8433
1,zeroshot_classification,cars,RN50 openai,0.5464,0.5445
"""
LONG = """model,task,metric,value,protocol,source
ViT-B-32/openai,dtd,acc1,44.57,tuned prompts,paper A
open_clip:ViT-B-32/openai,dtd,acc1,44,,paper B
my model of it,dtd,acc1,0,,paper B
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="table.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def told(results):
    return [(r.model, r.dataset, r.metric, r.value) for r in results]


# -- formats --------------------------------------------------------------------------------------------


def test_open_clips_table_has_a_column_a_data_set_and_a_metric_of_each(write):
    found = read_results(write(OPEN_CLIP))
    eva, convnext = "EVA02-E-14/laion2b_s4b_b115k", "convnext_base_w/laion2b_s13b_b82k_augreg"
    assert found.format == "open_clip"
    assert told(found.results) == [
        (eva, "ImageNet 1k", "acc1", 0.8196),
        (eva, "Caltech-101", "mean_per_class_recall", 0.9541),
        (eva, "FMoW", "worst-region acc", 0.2801),
        (convnext, "ImageNet 1k", "acc1", 0.7147),
        (convnext, "FMoW", "worst-region acc", 0.0),
    ]
    assert {(r.unit, r.protocol, r.source) for r in found.results} == {("fraction", "zero-shot", "table.csv")}
    assert found.notes == (
        "columns left out: params (M), FLOPs (B), Average perf. on 38 datasets",
        "1 cells are empty or NaN and absent: Caltech-101 (1)",
        "1 values are exactly 0 and kept, perhaps of runs that failed: FMoW (1)",
    )


def test_open_clips_retrieval_columns_name_data_set_and_metric(write):
    columns = (
        "name,pretrained,Average score,Flickr image retr. R@1,MSCOCO text retr. R@10,WinoGAViL jaccard score 10-12"
    )
    found = read_results(write(f"{columns}\nViT-B-32,openai,0.6,0.5,0.4,0.3\n"))
    assert [(r.dataset, r.metric) for r in found.results] == [
        ("Flickr", "image_retrieval_recall@1"),
        ("MSCOCO", "text_retrieval_recall@10"),
        ("WinoGAViL", "jaccard score 10-12"),
    ]


def test_a_data_set_nobody_knows_has_a_metric_that_is_not_stated(write):
    found = read_results(write("name,pretrained,My birds\nViT-B-32,openai,0.5\n"))
    assert told(found.results) == [("ViT-B-32/openai", "My birds", "not stated", 0.5)]
    assert found.notes == ("1 data sets are of no known metric: My birds",)


def test_clip_benchmarks_table_has_a_column_a_metric(write):
    found = read_results(write(CLIP_BENCHMARK))
    assert found.format == "clip_benchmark"
    assert told(found.results) == [
        ("ViT-B-32/openai", "CIFAR-100", "acc1", 0.75),
        ("ViT-B-32/openai", "CIFAR-100", "acc5", 0.9),
        ("ViT-B-32/openai", "CIFAR-100", "mean_per_class_recall", 0.74),
        ("ViT-B-32/openai", "wds/voc2007_multilabel", "mean_average_precision", 0.76),
    ]
    assert {r.protocol for r in found.results} == {"zeroshot_classification"}
    assert "1 data sets are called as open_clip calls them: vtab/cifar100 is CIFAR-100" in found.notes


def test_clip_benchmarks_json_is_read_as_its_csv(write, tmp_path):
    run = {
        "dataset": "imagenet1k",
        "model": "ViT-B-32",
        "pretrained": "openai",
        "task": "zeroshot_classification",
        "metrics": {"acc1": 0.26514, "acc5": math.nan, "per_class_recall": [0.1, 0.2]},
        "language": "ar",
    }
    one = read_results(write(json.dumps(run), "run.json"))
    assert one.results == (
        Result(
            "ViT-B-32/openai", "ImageNet 1k", "acc1", 0.26514, "fraction", "zeroshot_classification, ar", "run.json"
        ),
    )
    assert one.notes[0] == "left out, neither text nor a number: per_class_recall"
    assert "1 cells are empty or NaN and absent: acc5 (1)" in one.notes
    other = {**run, "language": "en"}
    lines = read_results(write(f"{json.dumps(run)}\n{json.dumps(other)}\n", "runs.jsonl"), source="run.json")
    assert lines.results[0] == one.results[0]
    assert [r.protocol for r in lines.results] == ["zeroshot_classification, ar", "zeroshot_classification, en"]
    write(json.dumps([other]), "second.json")
    folder = read_results(tmp_path, source="run.json")
    assert folder.results == lines.results


def test_lovms_table_names_models_in_full(write):
    found = read_results(write(LOVM))
    assert found.format == "lovm"
    assert told(found.results) == [
        ("ViT-B-32/laion2b_e16", "Stanford Cars", "mean_per_class_recall", 0.8441),
        ("ViT-B-32/laion2b_e16", "Stanford Cars", "acc1", 0.8433),
        ("RN50/openai", "Stanford Cars", "mean_per_class_recall", 0.5464),
        ("RN50/openai", "Stanford Cars", "acc1", 0.5445),
    ]
    both = LOVM.replace("model_fullname", "model,pretrained,model_fullname").replace(
        ",cars,ViT-B-32", ",cars,ViT-B-32,laion2b_e16,ViT-B-32"
    )
    both = both.replace(",cars,RN50", ",cars,RN50,openai,RN50")
    assert read_results(write(both), "lovm").results == read_results(write(both)).results == found.results


def test_the_long_form_keeps_sources_apart(write):
    found = read_results(write(LONG))
    assert found.format == "long"
    assert [(r.model, r.value, r.protocol, r.source) for r in found.results] == [
        ("ViT-B-32/openai", 0.4457, "tuned prompts", "paper A"),
        ("ViT-B-32/openai", 0.44, "", "paper B"),
        ("my model of it", 0.0, "", "paper B"),
    ]
    assert {r.dataset for r in found.results} == {"Describable Textures"}
    assert "3 values are in percent and were divided by 100: acc1 (3)" in found.notes
    assert "1 models are not named as in a hub, ARCH/TAG: my model of it" in found.notes


# -- units ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["75.33%", "75.33 %"])
def test_percent_is_converted_as_decimals_are(write, text):
    found = read_results(write(f"model,task,metric,value\na/b,dtd,acc1,{text}\n"))
    assert [(r.value, r.unit) for r in found.results] == [(0.7533, "percent")]


def test_a_column_of_units_decides_row_by_row(write):
    rows = "model,task,metric,value,unit\na/b,dtd,acc1,0.5,%\na/c,dtd,acc1,0.5,fraction\na/d,dtd,acc1,1,fraction\n"
    assert [r.value for r in read_results(write(rows)).results] == [0.005, 0.5, 1.0]


def test_what_may_be_percent_or_not_is_refused_until_it_is_said(write):
    path = write("model,task,metric,value\na/b,dtd,acc1,75.2\na/c,dtd,acc1,0.6\n")
    with pytest.raises(SourceUnreadable) as refused:
        read_results(path)
    assert str(refused.value) == (
        f"{path}: row 3, column 'value': 0.6 beside 75.2 in row 2, column 'value': "
        "percent or not? give its unit with `--unit percent` or `--unit fraction`"
    )
    assert [r.value for r in read_results(path, unit="percent").results] == [0.752, 0.006]
    with pytest.raises(
        SourceUnreadable, match=r"row 2, column 'value': 75\.2 is not between 0 and 1, as a fraction is"
    ):
        read_results(path, unit="fraction")


def test_metrics_and_sources_of_other_units_do_not_decide(write):
    rows = "model,task,metric,value,source\na/b,dtd,acc1,75.2,A\na/b,dtd,f1,0.6,A\na/b,dtd,acc1,0.7,B\n"
    assert [(r.value, r.unit) for r in read_results(write(rows)).results] == [
        (0.752, "percent"),
        (0.6, "fraction"),
        (0.7, "fraction"),
    ]


values = st.integers(0, 10_000).map(lambda n: n / 10_000)


@given(st.data(), st.integers(1, 4), st.integers(1, 3), st.booleans())
def test_a_table_comes_back_as_it_was_written(tmp_path_factory, data, models, datasets, percent):
    shape = st.lists(
        st.lists(st.none() | values, min_size=datasets, max_size=datasets), min_size=models, max_size=models
    )
    table = data.draw(shape)
    path = tmp_path_factory.mktemp("wide") / "table.csv"
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["name", "pretrained", *(f"set {n}" for n in range(datasets))])
        for m, row in enumerate(table):
            cells = ["" if v is None else f"{v * 100:.2f}" if percent else f"{v:.4f}" for v in row]
            writer.writerow([f"arch{m}", "tag", *cells])
    names = [f"arch{m}/tag" for m, row in enumerate(table) if any(v is not None for v in row)]
    if not names:
        with pytest.raises(SourceUnreadable, match="no value in it"):
            read_results(path)
        return
    found = matrix(read_results(path, unit="percent" if percent else None).results)
    assert found.models == tuple(names)
    kept = [n for n in range(datasets) if any(row[n] is not None for row in table)]
    expected = [
        [math.nan if row[n] is None else row[n] for n in kept] for row in table if any(v is not None for v in row)
    ]
    np.testing.assert_array_equal(found.value, expected)


# -- what is refused ------------------------------------------------------------------------------------

ROW = "model,task,metric,value\n"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "row 1: no header"),
        ("a,b\n1,2\n", "row 1: columns a, b are of no format; known are long (model, dataset|task, metric, value); "),
        ("model,task,metric,value,value\n", "row 1: column 'value' is there twice"),
        (f"{ROW}a/b,dtd,acc1\n", "row 2: 3 cells where the header has 4"),
        (f"{ROW}a/b,dtd,acc1,0.5,0.6\n", "row 2: 5 cells where the header has 4"),
        (f"{ROW}a/b,dtd,acc1,0.5\n,dtd,acc1,0.5\n", "row 3, column 'model': empty; every row names its model"),
        (f"{ROW}a/b,,acc1,0.5\n", "row 2, column 'task': empty; every row names its task"),
        (f"{ROW}a/b,dtd,,0.5\n", "row 2, column 'metric': empty"),
        (f'{ROW}a/b,dtd,acc1,"0,5"\n', "row 2, column 'value': '0,5' is not a number"),
        (f"{ROW}a/b,dtd,acc1,inf\n", "row 2, column 'value': 'inf' is not a number"),
        (f"{ROW}a/b,dtd,acc1,1e{'9' * 20}\n", f"row 2, column 'value': '1e{'9' * 20}' is out of range"),
        (f"{ROW}a/b,dtd,acc1,1_0\n", "row 2, column 'value': '1_0' is not a number"),
        (f"{ROW}a/b,dtd,acc1,-0.1\n", "row 2, column 'value': -0.1 is not between 0 and 1, as a fraction is"),
        (f"{ROW}a/b,dtd,acc1,101\n", "row 2, column 'value': 101 is not between 0 and 100, as a percent is"),
        (f"{ROW}a/b,dtd,acc1,nan\n", "no value in it"),
        (
            f"{ROW}a/b,dtd,acc1,0.5\na/b,dtd,acc1,0.6\n",
            "row 3, column 'value': another value of acc1 of a/b on Describable Tex",
        ),
        (
            "model,task,metric,value,unit\na/b,dtd,acc1,5,ppm\n",
            "row 2, column 'unit': 'ppm' is not fraction or percent",
        ),
        ("dataset,model,pretrained,loss\ndtd,a,b,0.5\n", "no value in it"),
        ('model,task,metric,value\n"a/b,dtd,acc1,0.5\n', "not CSV: "),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_in_one_line(write, text, rule):
    path = write(text)
    with pytest.raises(SourceUnreadable) as refused:
        read_results(path)
    assert str(refused.value).startswith(f"{path}: {rule}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("run.json", b"{", "not JSON"),
        ("run.json", b"[" * 100_000, "not JSON|lists in lists without end"),
        ("run.json", rb'{"model": "\ud800", "task": "t", "metric": "acc1", "value": 1}', "row 1: 'model' or its value"),
        ("run.json", b"[1]", "row 1: '1' is not an object with names and values"),
        ("run.csv", b"name,\xff\n", "not UTF-8 text"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, name, content, rule):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceUnreadable, match=rule):
        read_results(tmp_path / name)


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(SourceUnreadable, match="cannot be read: No such file"):
        read_results(tmp_path / "none.csv")
    with pytest.raises(SourceUnreadable, match=r"a folder without a \.json file"):
        read_results(tmp_path)


def test_a_format_may_be_said_and_must_fit(write):
    with pytest.raises(SourceUnreadable, match="row 1: no column model_fullname, which lovm tables have"):
        read_results(write(OPEN_CLIP), format="lovm")
    with pytest.raises(ValueError, match=r"format must be one of .*, got 'openclip'; did you mean open_clip"):
        read_results(write(OPEN_CLIP), format="openclip")
    with pytest.raises(ValueError, match="unit must be 'fraction' or 'percent', got '%'"):
        read_results(write(OPEN_CLIP), unit="%")


def test_two_data_sets_of_one_file_are_never_given_one_name(write):
    found = read_results(write(f"{ROW}a/b,dtd,acc1,0.5\na/b,vtab/dtd,acc1,0.6\na/b,mnist,acc1,0.7\n"))
    assert [(r.dataset, r.value) for r in found.results] == [("dtd", 0.5), ("vtab/dtd", 0.6), ("MNIST", 0.7)]
    assert "2 data sets keep their names, two of which mean the same: dtd, vtab/dtd" in found.notes
    usual = read_results(write(f"{ROW}a/b,MNIST,acc1,0.5\na/b,mnist,acc1,0.6\n"))
    assert [r.dataset for r in usual.results] == ["MNIST", "mnist"]


def test_an_equal_result_twice_is_one_and_said(write):
    found = read_results(write(f"{ROW}a/b,dtd,acc1,0.5\na/b,dtd,acc1,0.50\n"))
    assert len(found.results) == 1
    assert "1 results are there twice, of equal value, and were taken once" in found.notes


def test_every_format_has_its_columns_in_the_order_they_are_told_apart():
    assert list(FORMATS) == ["long", "clip_benchmark", "lovm", "open_clip"]
