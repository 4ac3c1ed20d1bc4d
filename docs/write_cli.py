"""Write docs/cli.md: every command by its own --help, with the keys of its JSON.

`make docs` runs this; tests/cli/test_docs.py checks that the page is current and that commands
print the keys below and no others. A key path reads as in `classes[].members[].model`: `[]` is
every item of a list, `*` every name that is not fixed, such as that of a domain.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from mllctl_cli.main import EPILOG, app

PAGE = Path(__file__).parent / "cli.md"

HEAD = """\
# The command line

Written by `docs/write_cli.py` from `--help`; run `make docs` after changing a command.

Data goes to stdout, messages to stderr. On a terminal, tables fit themselves to its width; on a pipe, a row is one
line. With `--json` a command prints one JSON document whose keys are stable: the tables below list them all. An
error is one line on stderr, in both forms.

## Exit codes

{codes}

## Environment

| variable | |
|---|---|
| `MLLCTL_HUB` | The hub to work on, if `--hub` is not given. |
| `MLLCTL_CACHE` | Folder for what can be made again, such as the exported encoder; else the user's cache. |
| `OPENAI_API_KEY` | Key of the language model's server, if it wants one. |
| `OPENAI_BASE_URL` | Address of that server, if `--base-url` is not given; else OpenAI's. |
| `NO_COLOR` | Set to anything: plain text on terminals, too. |
| `COLUMNS` | Width of tables, if it is not the terminal's. |
"""

KINDS = "`open_clip`, `conse`, `sentence_transformers`, or what a plugin calls its own."
CARD = {
    "name": "Key in the hub, `arch/weights`.",
    "kind": KINDS,
    "fingerprint": "SHA-256 over the weights.",
    "parameters": "Number of weights.",
    "image_size": "Side of the square the model sees, in pixels.",
    "embedding_width": "Length of its embeddings.",
    "logit_scale": "What cosines are multiplied by before the softmax.",
    "logit_bias": "Added after scaling; 0 where the model has none.",
    "preprocess": "The image transform.",
    "tokenizer": "The tokenizer.",
    "source": "What loads the model again.",
    "libraries.*": "Versions of the libraries that made the embeddings.",
    "canary": "SHA-256 over its embeddings of the canary's images and captions; null if none was taken.",
}
MODEL = {
    **CARD,
    "state": "Of its label: `none`, `stale` (images or nodes came later) or `complete`.",
    "labelled": "Images it was shown.",
    "missing": "Images it was not shown yet.",
    "unseen": "Nodes with images its label was not compared with yet.",
}
NODE = {
    "synset": "Such as `dog.n.01`.",
    "caption": "What models are labelled with and classes are matched to.",
    "lexname": "WordNet's lexicographer file, such as `animal`.",
    "images": "Number of its sample images.",
    "parents[]": "Synsets of its hypernyms.",
    "children[]": "Synsets of its hyponyms.",
}
CONTENTS = {
    "version": "Of the bundle's form.",
    "schema_version": "Of the hub it was exported from.",
    "generation": "Of that hub.",
    "made": "When that generation was made, in UTC.",
    "nodes": "Nodes of the graph.",
    "nodes_with_images": "Those that are evidence.",
    "images": "Sample images the models were shown; they are not in the bundle.",
    "domains.*": "Sample images of each domain.",
    "encoder": "Sentence encoder of the caption index, or null.",
    "orders": "Whether all rivals of each image are in it.",
    "embeddings": "Whether labels can grow.",
    "models[].name": "A labelled model.",
    "models[].kind": KINDS,
    "models[].fingerprint": "SHA-256 over its weights.",
    "models[].parameters": "Number of weights.",
    "models[].source": "What loads it.",
    "models[].license": "SPDX expression of its weights, or null where mllctl knows none.",
    "models[].state": "Of its label: `complete` or `stale`.",
    "models[].images": "Images it was shown.",
    "experts[].name": "A labelled expert.",
    "experts[].kind": "`timm`, `torchvision`, `onnx`, `hf` or a plugin's.",
    "experts[].fingerprint": "SHA-256 over its weights.",
    "experts[].parameters": "Number of weights.",
    "experts[].source": "What loads it.",
    "experts[].heads": "Number of its outputs.",
    "experts[].state": "Of its label: `complete` or `stale`.",
    "experts[].images": "Images it was shown.",
    "licenses[]": "Texts that came with it.",
    "size": "Bytes of all files in it.",
}
SKIPPED = {"skipped[].path": "An input that was not used.", "skipped[].reason": "Why, in a few words."}


PREDICTED = {
    "predictions[].path": "The image, as it was named; no predictions are printed with --out.",
    "predictions[].class": "The class with the highest confidence.",
    "predictions[].confidence": "That confidence, in [0, 1]; those of all classes need not add to 1.",
    "predictions[].entropy": "Of the confidences, scaled to add to 1, in nats.",
    "predictions[].top[].class": "The best classes, best first, at most --top.",
    "predictions[].top[].confidence": "Their confidences.",
    "predictions[].models[]": "The models that spoke for the class, best first.",
    "out": "The file of --out, or null.",
    **SKIPPED,
}

SELECTED = {
    "domain": "As given, or null.",
    "task": "As given, or null.",
    "k": "As given.",
    "alpha": "As given.",
    "nodes_per_class": "As given by `--nodes`.",
    "match": "As given.",
    "estimator": "As given.",
    "max_models": "As given, or null.",
    "hub_generation": "Generation of the hub that answered.",
    "verdict": "`use`, `use with care` or `prefer the best-overall model`.",
    "reason": "Of the verdict, half a sentence.",
    "single": "The one best model for all classes.",
    "best_overall": "The model that is best in typical tasks of the hub: 30 classes drawn from its nodes.",
    "runner_up": "The second best model for all classes, or null.",
    "beats_runner_up": "Probability that `single` is better than that.",
    "beats_best_overall": "The same against `best_overall`; 1 if it is the same.",
    "answers[].breadth": "`one` model, at most a `few`, or a model for `each` class.",
    "answers[].models[]": "The models of this answer.",
    "answers[].parameters": "Parameters of them together.",
    "answers[].precision": "What they are believed to reach, mean over the classes with evidence, in [0, 1].",
    "answers[].best_choice": "Whether no other choice of as many models is better; if not, it was found greedily.",
    "answers[].python[]": "Lines of Python that load and use them.",
    "models[].model": "A candidate.",
    "models[].precision": "Mean over the classes that have evidence, in [0, 1]; null if none has.",
    "models[].low": "Lower end of its 90 % interval, or null.",
    "models[].high": "Upper end of it, or null.",
    "models[].reuse": "Mean of its reuse metric over the classes.",
    "models[].parameters": "Number of its weights.",
    "left_out[].model": "A model that was not a candidate.",
    "left_out[].reason": "Why: a limit, no label or one that lacks images, or the weights of another candidate.",
    "by_cost[].name": "With `--cost` or `--plot`: a candidate, cheapest first.",
    "by_cost[].cost": "Its parameters, GFLOPs, bytes or ms.",
    "by_cost[].quality": "Its mean precision.",
    "by_cost[].on_front": "Whether no other model is at least as good and as cheap.",
    "domain_matched": "Whether any sample domain resembles `domain`; if not, all weigh the same.",
    "domains[].name": "A sample domain.",
    "domains[].similarity": "Cosine of its description and `domain`; null without `--domain`.",
    "domains[].weight": "Weight of an image of this domain; all sum to 1.",
    "classes[].class": "Name of the class.",
    "classes[].covered": "Whether it has evidence: a node near it in the graph, or one with a similar caption.",
    "classes[].meaning": "The synset it was taken to mean, or null.",
    "classes[].similarity": "Cosine with the node of the most similar caption.",
    "classes[].members[].model": "A model of the class, best first.",
    "classes[].members[].precision": "Precision on the class, in [0, 1].",
    "classes[].members[].low": "Lower end of its 90 % interval.",
    "classes[].members[].high": "Upper end of it.",
    "classes[].members[].reuse": "Reuse metric, by which members are ordered.",
    "classes[].members[].reuse_low": "Lower end of its 90 % interval, over shares.",
    "classes[].members[].reuse_high": "Upper end of it.",
    "classes[].nodes[].node": "A node that speaks for the class, weightiest first; none without evidence.",
    "classes[].nodes[].weight": "How much it does: Z.",
    "classes[].nodes[].images": "Number of its sample images.",
}


def _each(keys: dict[str, str]) -> dict[str, str]:
    """The same keys in every item of a list."""
    return {f"[].{key}": meaning for key, meaning in keys.items()}


KEYS = {
    "init": {"path": "Folder of the new hub."},
    "demo build": {
        "[].model": "Name of the model.",
        "[].bits": "Image-node pairs in which its label and the bundled one differ.",
        "[].compared": "Image-node pairs in all.",
    },
    "hub info": {
        "path": "Folder of the hub.",
        "generation": "Number of the last commit.",
        "schema_version": "Of its files.",
        "read_only": "Whether it is a shipped hub, which cannot be changed.",
        "bytes": "Size of all its files.",
        "nodes": "Nodes of the graph.",
        "nodes_with_images": "Those that are evidence.",
        "images": "Sample images.",
        "domains.*": "Sample images of each domain.",
        "graph_version": "Number of the last `graph build`; 0 before the first.",
        "index": "`none`, `stale` (nodes or domains came later) or `complete`.",
        "encoder": "Sentence encoder of the index, or null.",
        "models": "Number of models.",
        "label_parts": "Of how many parts their labels consist; `hub compact` merges them.",
        "labelled": "Those with a complete label.",
    },
    "hub log": _each(
        {
            "generation": "Its number.",
            "made": "When, in UTC.",
            "note": "What made it.",
            "images": "Sample images it has.",
            "models": "Models it has.",
            "new_bytes": "Size of the files that the generation before did not have.",
        }
    ),
    "hub diff": {
        "before": "Number of the first generation.",
        "after": "Number of the second.",
        "images_added": "Images that only the second has.",
        "images_removed": "Images that only the first has.",
        "nodes_gained[]": "Synsets that have images in the second only.",
        "nodes_lost[]": "Synsets that have images in the first only.",
        "models_added[]": "Models that only the second has.",
        "models_removed[]": "Models that only the first has.",
        "models_relabelled[]": "Models whose label has changed.",
        "tasks[].task": "Name of a saved task.",
        "tasks[].changed": "Whether any of its models differs.",
        "tasks[].single.before": "The one model for all classes; null where the generation has no answer.",
        "tasks[].single.after": "The same, in the second.",
        "tasks[].classes[].class": "A class whose best model differs.",
        "tasks[].classes[].before": "Its best model, or null.",
        "tasks[].classes[].after": "The same, in the second.",
        "tasks[].refused.before": "Why the first generation has no answer; empty where it has.",
        "tasks[].refused.after": "The same, of the second.",
    },
    "hub restore": {"restored": "Number of the past generation.", "generation": "Number under which it is back."},
    "hub compact": {"merged[]": "Models whose label is one part now."},
    "hub upgrade": {"before": "Schema version the hub had.", "now": "Schema version it has."},
    "hub export": {"path": "The bundle.", "bytes": "Its size.", **CONTENTS},
    "hub import": {
        "path": "Folder of the hub.",
        "created": "Whether it was empty, or not there, before.",
        "generation": "Its newest.",
        "taken[]": "Models and experts whose labels are new in it.",
        "skipped[]": "Those that were labelled in it already.",
    },
    "hub import, with --show": CONTENTS,
    "graph build": {
        "version": "Number of this graph.",
        "nodes": "Its nodes.",
        "edges": "Its edges.",
        "changed": "Whether anything was new.",
    },
    "graph show": NODE,
    "graph show, without NODE": _each({key: NODE[key] for key in ("synset", "images", "caption")}),
    "images add": {
        "added": "Images that are new.",
        "already_there": "Images the hub had already, by content.",
        "conflicts[].path": "An image of these that is there under another class or domain, and stays so.",
        "conflicts[].node": "The synset it was found under.",
        "conflicts[].domain": "The domain it was found under.",
        "conflicts[].held_node": "The synset it has.",
        "conflicts[].held_domain": "The domain it has.",
        "conflicts[].image": "Its number; null if it came earlier in the same source.",
        **SKIPPED,
        "reasons.*": "Number of inputs skipped for each kind of reason; what differs between them is `…`.",
        "left_out": "Images that `--per-node` did not draw.",
        "guessed.*[]": "Synsets that a word of several senses may mean; the first was taken.",
    },
    "images list": {
        "[].image": "Its number.",
        "[].node": "Its synset.",
        "[].domain": "Its domain.",
        "[].uri": "Where it is.",
    },
    "images remove": {"removed": "Number of images."},
    "index build": {
        "nodes": "Captions indexed.",
        "domains": "Domain descriptions indexed.",
        "width": "Length of the vectors.",
        "encoder": "Sentence encoder that made them.",
    },
    "model add": CARD,
    "model list": _each({**MODEL, "mean_precision": "Over all nodes with images, in [0, 1]; null without a label."}),
    "model list, with --pretrained": _each(
        {
            "model": "What `model add` takes.",
            "parameters": "Number of weights, or null.",
            "gflops": "10^9 operations of an image and a text, or null.",
            "size_bytes": "Of the weights, or null.",
            "size_estimated": "Whether that is 4 bytes a parameter, since the files are not here.",
            "image_size": "Side of the square the model sees, in pixels.",
            "context_length": "Tokens of the longest text.",
            "embedding_width": "Length of its embeddings.",
            "imagenet_top1": "Published zero-shot accuracy, in [0, 1], or null.",
            "license": "SPDX expression of the weights, or null where their makers say none.",
            "cached": "Whether it can be loaded without a download.",
            "instead": "The name to be added instead, where the weights want QuickGELU; or null.",
        }
    ),
    "model show": MODEL,
    "model time": {"[].model": "Name of the model.", "[].latency_ms": "Median time of one image, in milliseconds."},
    "model remove": {"removed": "Name of the model."},
    "model lock": {
        "form": "Of the lock.",
        "hub.generation": "Number of the last commit.",
        "hub.schema_version": "Of the hub's files.",
        "encoder.name": "Sentence encoder of the caption index; `encoder` is null without an index.",
        "encoder.fingerprint": "SHA-256 of its weights.",
        "libraries.*": "Version that is installed, or null.",
        **{
            f"models.*.{key}": CARD[key]
            for key in ("source", "kind", "fingerprint", "preprocess", "tokenizer", "image_size", "canary")
        },
        "models.*.state": MODEL["state"],
        "models.*.libraries.*": CARD["libraries.*"],
    },
    "model lock, with --check": {"lock": "The file.", "differences[]": "What is no longer as it says, a line each."},
    "label": {
        "[].model": "Name of the model.",
        "[].images": "Images of the hub.",
        "[].shown": "Images it was shown now.",
        "[].skipped[].path": "An image that could not be read.",
        "[].skipped[].reason": "Why, in a few words.",
        "[].hits": "Images that no other node takes from their own.",
        "[].changed": "Whether anything was new; else nothing was committed.",
    },
    "label, with --plan": _each(
        {
            "model": "Name of the model, or its source if it was never loaded.",
            "images": "Images of the hub.",
            "to_show": "Images it has not been shown.",
            "missing": "Those of them that have no file any more.",
            "image_bytes": "Size of their files; a pack or archive counts whole.",
            "captions": "Captions it has not been shown.",
            "seconds": "What the images take on the processor, each alone, by `model time`; null if that is not known.",
            "embedding_bytes": "What will be written, or null.",
            "cached": "Whether the model can be loaded without a download; null if that is not known.",
            "download_bytes": "Size of its weights if it cannot, or null.",
        }
    ),
    "captions write": {
        "path": "The file that was written.",
        "classes": "Classes it has captions of.",
        "asked": "How many of them the language model was asked for now.",
        "cached": "How many of them had been answered before.",
        "skipped[].class": "A class without captions.",
        "skipped[].reason": "Why, in a few words.",
    },
    "captions write, with --dry-run": {
        "prompts[].class": "Name of the class.",
        "prompts[].prompt": "What the language model would be asked.",
        "prompts[].cached": "Whether that has been answered before.",
        "to_ask": "Prompts that have not been answered yet.",
    },
    "select": SELECTED,
    "select, with --examples": {
        **SELECTED,
        "examples.images": "Labelled images that candidates were shown.",
        "examples.classes": "Classes that have any.",
        "examples.worth": "How many images what names say of a model on the whole task is worth.",
        "examples.models[].model": "A candidate.",
        "examples.models[].hits": "Images it takes for their class.",
        "examples.models[].expected": "How many names alone made one expect.",
        "examples.models[].names_precision": "Mean precision over the classes, by names alone.",
        **SKIPPED,
    },
    "select, with --unlabelled": {
        **SELECTED,
        "unlabelled.images": "Images by which domains were weighed.",
        "unlabelled.model": "The model that saw them.",
        **SKIPPED,
    },
    "explain": {
        "class": "The class.",
        "model": "The model that is explained.",
        "rank": "Its place in the class, 1 is the best.",
        "precision": "Its precision on the class, in [0, 1].",
        "reuse": "Its reuse metric on the class.",
        "chosen": "The model that is chosen.",
        "covered": "Whether the hub has evidence for the class; if not, the other classes decided.",
        "similarity": "Cosine of the class and its most similar node.",
        "chosen_reuse": "The reuse metric of that.",
        "nodes[].node": "A node that speaks for the class, weightiest first.",
        "nodes[].definition": "What it is.",
        "nodes[].weight": "How much it speaks: Z.",
        "nodes[].part": "Its part in what is believed of the class, in [0, 1].",
        "nodes[].precision": "What is believed of the model on it, in [0, 1].",
        "nodes[].low": "Lower end of the 90 % interval.",
        "nodes[].high": "Upper end of it.",
        "nodes[].hits.*": "Images of each domain that the model had right; domains without any are left out.",
        "nodes[].images.*": "Images of each domain.",
        "nodes[].rivals[].node": "A node that took images, or `unknown`.",
        "nodes[].rivals[].images": "How many.",
        "images[].image": "Number of a sample image of these nodes.",
        "images[].node": "Its true node.",
        "images[].domain": "Its domain.",
        "images[].uri": "Where it is.",
        "images[].winner": "The node that took it, or null where the hub does not know.",
        "images[].hit": "Whether that is the true one.",
        "alphas[].low": "From this alpha,",
        "alphas[].high": "to this one,",
        "alphas[].model": "this model leads the class.",
        "changes[].change": "What would change the decision,",
        "changes[].model": "and for which model.",
    },
    "select, with --experts": {
        "domain": "As given, or null.",
        "k": "Experts per class, as given.",
        "threshold": "As given.",
        "discount": "Weight of a node's own images against its children's.",
        "recursive": "Whether children pass on what they have from theirs.",
        "match": "As given.",
        "hub_generation": "Generation of the hub that answered.",
        "general": "The one best model for all classes, which answers where no expert does.",
        "experts[].expert": "A candidate.",
        "experts[].heads": "Number of its outputs.",
        "experts[].parameters": "Number of its weights.",
        "experts[].gap": "By how much the sum of its losses may be above the least there can be.",
        "experts[].used": "Whether it answers for a class.",
        "left_out[].expert": "An expert that was not a candidate.",
        "left_out[].reason": "Why: a label that lacks images, or the weights of another candidate.",
        "classes[].class": "Name of the class.",
        "classes[].node": "The one node that stands for it, or null.",
        "classes[].similarity": "Cosine of their captions; 0 without a node.",
        "classes[].served": "Whether an expert answers for it.",
        "classes[].members[].expert": "An expert of the class, best first.",
        "classes[].members[].loss": "Its loss on the class, at least 0.",
        "classes[].members[].heads": "How many of its heads make up the class.",
    },
    "explain, with --experts": {
        "class": "The class.",
        "node": "The node that stands for it.",
        "expert": "The expert that is explained.",
        "chosen": "Whether it answers for the class.",
        "rank": "Its place in the class by loss, 1 is the best.",
        "loss": "Its loss on the class, at least 0.",
        "threshold": "Largest loss that is taken.",
        "answers": "What its heads of this class answer together on the node, in [0, 1].",
        "elsewhere[].class": "Another class, that with most first;",
        "elsewhere[].answers": "what the same heads answer on its node.",
        "heads[].head": "Number of a head of this class, that which adds most first.",
        "heads[].name": "Its name, empty where it is not known.",
        "heads[].weight": "How much of it counts for the class, in (0, 1].",
        "heads[].answers": "What it answers on the node, in [0, 1].",
        "heads[].elsewhere": "The other class on whose node it answers most, or null;",
        "heads[].elsewhere_answers": "what it answers there.",
    },
    "predict": PREDICTED,
    "predict, with --truth": {
        **PREDICTED,
        "predictions[].truth": "The class it truly shows, null if it is none of them.",
        "measures.images": "Images that were measured; `measures` is null if there are none.",
        "measures.outside": "Images that were not, their truth being none of the classes.",
        "measures.accuracy": "Top-1, in [0, 1].",
        "measures.mean_class_recall": "Recall, mean over the classes that have images, in [0, 1].",
        "measures.top5": "Share with the truth among the five best classes; null of five classes or fewer.",
        "measures.calibration_error": "Expected difference of confidence and accuracy, in [0, 1].",
        "measures.reliability[].low": "A bin of confidences above this,",
        "measures.reliability[].high": "and at most this.",
        "measures.reliability[].images": "Images in it.",
        "measures.reliability[].confidence": "Their mean confidence, or null.",
        "measures.reliability[].accuracy": "Share of them that is right, or null.",
        "measures.classes[].class": "A class.",
        "measures.classes[].images": "Images that truly show it.",
        "measures.classes[].recall": "Share of these that was taken for it, or null.",
        "measures.classes[].precision": "Share of what was taken for it that shows it, or null.",
        "measures.confusion[][]": "Images of a true class by the class they were taken for.",
        "measures.contribution[].model": "A model.",
        "measures.contribution[].classes": "How many classes it answers.",
        "measures.contribution[].alone": "Top-1 of it alone.",
        "measures.contribution[].without": "Top-1 of the others without it, null if there is no other.",
        "measures.contribution[].weight": "Its mean share in the answers.",
    },
    "export": {
        "path": "The folder that was written.",
        "heads[].model": "Name of the model.",
        "heads[].file": "Its file in the folder.",
        "heads[].sha256": "Of the file.",
        "heads[].width": "Length of its embeddings.",
        "heads[].answers": "Number of classes it answers.",
        "heads[].open_clip": "Whether open_clip alone loads the model; the manifest says how.",
        "heads[].why_not": "Why it does not, in words; else null.",
    },
    "rank": {
        "models[].model": "Name of its file, without the ending; models are in the order of the first score.",
        "models[].truth": "What it really reached; null without --truth.",
        "models[].emms_weights.*": "What EMMS gave each encoder of the F-labels, summing to 1; null without its score.",
        "models[].summing_seconds": "What it took to sum up its features, which the scores share.",
        "models[].scores[].score": "Name.",
        "models[].scores[].value": "The greater the better; null if the model lacks what the score needs.",
        "models[].scores[].seconds": "What it took.",
        "scores[].score": "Name.",
        "scores[].weighted_tau": "Weighted Kendall tau with the truth; null without, or where it is undefined.",
        "scores[].agreement[].score": "Another score, or itself.",
        "scores[].agreement[].weighted_tau": "Weighted Kendall tau of the two; null where it is undefined.",
        "notes[]": "Which models lack what a score needs, and which scores say little of these features.",
    },
    "evaluate": {
        "mean_top1.*": "Mean top-1 of each method over the tasks, in [0, 1].",
        "intervals.*[]": "Ends of a 90 % bootstrap interval over the tasks, of each method's mean.",
        "of_oracle.*[]": "The same of its ratio to the oracle's mean.",
        "wins.*": "Tasks each model is best at; a tie is shared.",
        "tasks[].task": "Name of the task.",
        "tasks[].domain": "Domain its images are from.",
        "tasks[].classes": "Number of classes.",
        "tasks[].images": "Number of images.",
        "tasks[].top1.*": "Top-1 of each method, in [0, 1].",
        "tasks[].chosen.*": "The model each method chose, for methods that choose one.",
        "tasks[].accuracy.*": "Top-1 of each model, in [0, 1].",
        "tasks[].verdict": "What `MLL, domain` said of its choice.",
        "tasks[].runner_up": "The second best model by its evidence, or null.",
        "tasks[].beats_runner_up": "How sure it was to beat that, in [0, 1].",
        "tasks[].beats_best_overall": "How sure it was to beat the best-overall model, in [0, 1].",
    },
    "bench run": {
        "[].task": "Name of the task; `mean` of all of them.",
        "[].method": "The method.",
        "[].metric": "`top-1`, `regret`, `R5`, `tau`, `tau-b`, `weighted tau`, `Pearson`, `Spearman`, `models`; `ms an "
        "image` where models were timed; `top-1 - METHOD` how far it is ahead of the suite's method to compare with.",
        "[].value": "Of a mean, over the tasks of which it is defined; null where it is of none.",
        "[].low": "Lower end of the middle 90 % over the images of the task, or over the tasks; null if there is none.",
        "[].high": "Upper end.",
    },
    **{
        f"bench {command}": {
            "[].task": "`mean`, over all tasks.",
            "[].method": "The method.",
            "[].metric": metrics,
            "[].value": "Null where it is not defined.",
            "[].low": "Lower end of the middle 90 % of means of tasks drawn with replacement.",
            "[].high": "Upper end.",
            "[].variant": variant,
        }
        for command, metrics, variant in (
            ("ablate", "As of `bench run`.", "What was changed, such as `alpha=0.5`."),
            ("grow", "`top-1`, `regret`, `models`, `weighted tau`; means over orders.", "`models=N` in the hub."),
            ("subhubs", "`top-1`, `regret`, `models`, `weighted tau`; means over sub-hubs.", "Their size, in words."),
        )
    },
    "bench report": {
        "report": "The page.",
        "sections[].key": "Of the section, and the stem of its CSV and SVG.",
        "sections[].title": "Its heading.",
        "sections[].command": "What makes its numbers again.",
    },
    "bench import": {
        "[].file": "A file.",
        "[].format": "`open_clip`, `clip_benchmark`, `lovm` or `long`.",
        "[].results": "Results in it.",
        "[].added": "How many of them were new.",
    },
    "bench list": {
        "suites[].suite": "Name of a shipped suite.",
        "suites[].kind": "`hub` or `published`.",
        "suites[].about": "What it is.",
        "methods[].method": "Name of a method.",
        "methods[].sees": "The most it looks at: `facts`, `hub`, `few images`, `other tasks` or `truth`.",
        "methods[].about": "What it does.",
        "runs[].run": "Number of a run in the results.",
        "runs[].kind": "`run`, `ablate`, `grow` or `subhubs`.",
        "runs[].suite": "Its suite.",
        "runs[].started": "When, in UTC.",
        "runs[].finished": "When, or `interrupted`.",
        "runs[].cells": "How many choices it has.",
        "runs[].command": "What makes it again.",
        "imports[].source": "Whose results were imported.",
        "imports[].results": "How many.",
        "imports[].models": "Of how many models.",
        "imports[].datasets": "On how many data sets.",
    },
    "sql": {
        "[].*": "Columns as the query names them; of columns of one name the second is numbered `_2`. "
        "What JSON cannot carry becomes text.",
    },
    "doctor": {
        "[].what": "What was looked at.",
        "[].well": "Whether it is well.",
        "[].remark": "What was found, and how to mend it.",
    },
    "doctor, with classes": {
        "advice[].class": "The class as given; null where it is about all of them.",
        "advice[].kind": "What it is about: `empty`, `unreadable`, `duplicate`, `mark` (all wrong); `underscores`, "
        "`numbering`, `wnid`, `long`; `same name`, `same meaning`, `same nodes`; `doubtful`, `unlike`, "
        "`part`, `senses`, `unknown`; `template`.",
        "advice[].wrong": "Whether `select` would refuse the classes or take one for two.",
        "advice[].remark": "What was seen, and what follows from it.",
        "advice[].proposal": "What to write instead, or a template; null where nothing is certain.",
        "classes[].class": "A class that can be read.",
        "classes[].found": "Its meaning was `given`, found by the whole `name` or by a `part`; null without one.",
        "classes[].word": "The part of the name that is in WordNet; empty where none is.",
        "classes[].synset": "The sense that was taken, or null.",
        "classes[].others[]": "The other senses of the word, best first.",
        "cleaned[]": "The classes as proposed; `--propose` writes them to a file.",
    },
}


def write_page() -> str:
    """Return docs/cli.md."""
    codes = "\n".join(_exit_codes())
    sections = [_section(name, command) for name, command in list_commands(typer.main.get_command(app))]
    return "\n".join([HEAD.format(codes=codes), *sections])


def list_commands(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Return every command with its full name, groups unfolded."""
    if not isinstance(command, TyperGroup):
        yield name, command
        return
    context = typer.Context(command)
    for word in command.list_commands(context):
        yield from list_commands(command.get_command(context, word), f"{name} {word}".strip())


def _exit_codes() -> Iterator[str]:
    yield "| code | |"
    yield "|---|---|"
    for line in EPILOG.replace("\b", "").splitlines():
        code, _, meaning = line.strip().partition("  ")
        if meaning:
            yield f"| {code} | {meaning} |"


def _section(name: str, command: Any) -> str:
    text, _, example = inspect.cleandoc(command.help).partition("Example: ")
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    usage = " ".join(["mllctl", name, *(["[OPTIONS]"] if options else []), *map(_usage, arguments)])
    lines = [f"## `mllctl {name}`", "", f"    {usage}", "", _unwrap(text), "", "Example:", "", f"    {example.strip()}"]
    rows = [f"| `{_spelled(p)}` | {p.help}{_default(p)} |" for p in (*arguments, *options)]
    lines += ["", "| | |", "|---|---|", *rows] if rows else []
    for title, keys in KEYS.items():
        if title.partition(",")[0] == name:
            lines += ["", f"`--json`{title.removeprefix(name)}:", "", "| key | |", "|---|---|"]
            lines += [f"| `{key}` | {meaning} |" for key, meaning in keys.items()]
    return "\n".join([*lines, ""])


def _unwrap(text: str) -> str:
    """One paragraph a line, as Markdown likes it."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n"))


def _usage(argument: Any) -> str:
    many = "..." if argument.nargs == -1 else ""
    return f"{argument.metavar}{many}" if argument.required else f"[{argument.metavar}]{many}"


def _spelled(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return parameter.metavar + ("..." if parameter.nargs == -1 else "")
    return " ".join([parameter.opts[0], *([parameter.metavar] if parameter.metavar else [])])


def _default(parameter: Any) -> str:
    told = getattr(parameter, "show_default", True) and not getattr(parameter, "is_flag", False)
    return f" Default: `{parameter.default}`." if told and parameter.default is not None else ""


if __name__ == "__main__":
    PAGE.write_text(write_page(), encoding="utf-8")
