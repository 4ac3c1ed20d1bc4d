import pytest

from fakes import paint_folder
from mllctl.bench import present_tasks, read_suite, shipped_suites
from mllctl.errors import InvalidTask, SourceUnreadable
from mllctl.published import paper_models, paper_results


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_all_shipped_suites_can_be_read():
    suites = shipped_suites()
    assert set(suites) == {"demo", "mll17", "published"}
    for name, suite in suites.items():
        assert read_suite(name) == suite
        assert suite.about


def test_mll17_is_the_papers_benchmark():
    suite = read_suite("mll17")
    assert len(suite.tasks) == 17
    assert suite.paper_models
    assert len(paper_models()) == 49
    assert suite.sample_sets == ("ImageNet", "ImageNet-V2", "ImageNet-Sketch", "ImageNet-A", "ImageNet-R")
    assert {task.name for task in suite.tasks} == {one.dataset for one in paper_results() if one.dataset}
    assert all(task.recipe and task.domain and task.kind for task in suite.tasks)
    tasks, missing = present_tasks(suite)
    assert not tasks
    assert len(missing) == 17


def test_what_is_there_of_mll17_runs_and_what_differs_is_said(tmp_path):
    folder = paint_folder(tmp_path / "mnist", ["dog.n.01", "cat.n.01"], 2)
    (folder / "dog.n.01").rename(folder / "0 - zero")
    (folder / "cat.n.01").rename(folder / "1_-_one")
    [task], missing = present_tasks(read_suite("mll17"), tmp_path)
    assert (task.name, task.domain_text, task.kind) == ("MNIST", "digit picture", "image classification")
    assert task.classes == ("0 - zero", "1 - one")
    assert task.truth.tolist() == [0, 0, 1, 1]
    assert "MNIST: has 2 classes, the suite says 10; it is run all the same" in missing
    assert len(missing) == 17


def test_a_suite_of_ones_own(tmp_path):
    paint_folder(tmp_path / "photos", ["dog.n.01", "cat.n.01"], 2)
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    text = 'kind = "hub"\nseeds = [1, 2]\n[[task]]\nname = "pets"\nfolder = "photos"\nclasses = "names.txt"\nsize = 5\n'
    suite = read_suite(written(tmp_path / "mine.toml", text))
    assert (suite.name, suite.seeds, suite.against) == ("mine", (1, 2), "inb")
    assert suite.asked == str(tmp_path / "mine.toml")
    [task], [missing] = present_tasks(suite)
    assert task.classes == ("cat", "dog")
    assert sorted(zip(task.uris, task.truth.tolist(), strict=True))[0][1] == 0
    assert missing == "pets: has 4 images, the suite says 5; it is run all the same"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind = ", "not a suite"),
        ('kind = "hubs"', "kind must be one of hub, published, got 'hubs'"),
        ('kind = "hub"', r"needs \[\[task\]\] tables"),
        ('kind = "published"', "needs universal"),
        ('kind = "hub"\ntaks = "x"', "a suite has no key 'taks'; there are task"),
        ('kind = "hub"\nseeds = 3', "seeds must be list, got 3"),
        ('kind = "hub"\ntasks = "x"\nimages = "y"\nseeds = [-1]', "seeds must be whole numbers of at least 0"),
        ('kind = "hub"\nseeds = [1.5]', "seeds must be a list of int"),
        ('kind = "hub"\ntask = [1]', "task must be a list of dict"),
        ('kind = "hub"\nsample_set = [1]', "sample_set must be a list of dict"),
        ('kind = "hub"\n[[sample_set]]\ndomain = "x"', "a sample set needs name"),
        ('kind = "hub"\nmethods = [["a"]]', "methods must be a list of str"),
        ('kind = "hub"\nleave_out = ["a"]', "a suite of kind hub has no leave_out"),
        ('kind = "published"\nuniversal = "x"\nleave_out = [1]', "leave_out must be a list of str"),
        ('kind = "published"\nuniversal = "x"\n[[task]]\nname = "x"', "a suite of kind published has no task"),
        ('kind = "published"\nuniversal = "x"\nmodels = "papr"', "models must be all or paper, got 'papr'"),
        ('kind = "hub"\ntasks = "x"\nimages = "y"\n[[task]]\nname = "x"', "not both"),
        ('kind = "hub"\n[[task]]\nname = "x"\nfolder = "x"\nclasses = [1, 2]', "classes must be a list of str"),
        ('kind = "hub"\n[[task]]\nname = "x"', "a task needs folder"),
        ('kind = "hub"\n[[task]]\nname = "x"\nfolder = "x"\nclasses = "none.txt"', "no file of class names"),
        (
            'kind = "hub"\n[[task]]\nname = "x"\nfolder = "x"\n[[task]]\nname = "x"\nfolder = "y"',
            "two tasks are called",
        ),
    ],
)
def test_what_is_no_suite_is_refused(tmp_path, text, message):
    with pytest.raises(SourceUnreadable, match=message):
        read_suite(written(tmp_path / "bad.toml", text))


def test_unknown_suites_and_methods_are_refused_with_what_there_is(tmp_path):
    with pytest.raises(InvalidTask, match="no suite 'demos'; there are demo, or name a file"):
        read_suite("demos")
    with pytest.raises(InvalidTask, match="no method 'mll-k4'; there are mll-k"):
        read_suite(written(tmp_path / "bad.toml", 'kind = "published"\nuniversal = "x"\nmethods = ["mll-k4"]'))


def test_a_suite_of_ones_own_has_not_the_name_of_a_shipped_one(tmp_path):
    path = tmp_path / "demo.toml"
    with pytest.raises(SourceUnreadable, match="demo is a suite that is shipped; give the file another name"):
        read_suite(written(path, 'kind = "published"\nuniversal = "x"'))


def test_a_folder_without_classes_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    text = 'kind = "hub"\n[[task]]\nname = "pets"\nfolder = "photos"\n'
    with pytest.raises(SourceUnreadable, match="no class folders in it"):
        present_tasks(read_suite(written(tmp_path / "mine.toml", text)))


def test_a_task_of_one_class_and_a_folder_that_is_none_are_refused(tmp_path):
    paint_folder(tmp_path / "photos", ["dog.n.01"], 2)
    text = 'kind = "hub"\n[[task]]\nname = "pets"\nfolder = "photos"\n'
    with pytest.raises(SourceUnreadable, match="one class alone makes no task"):
        present_tasks(read_suite(written(tmp_path / "mine.toml", text)))
    with pytest.raises(InvalidTask, match="none of the classes; name folders as the classes, or add it to the task's"):
        present_tasks(read_suite(written(tmp_path / "mine.toml", text + 'classes = ["cat", "car"]\n')))
