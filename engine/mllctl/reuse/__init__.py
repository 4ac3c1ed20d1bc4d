"""Let the selected models answer the task: Eq 8-10 of MLL.

    Selection ── saved ── selection.json ─┬─ ensemble ── answers to images in memory ── styles
                                          ├─ heads ───── what open_clip alone can use
    files, folders, shards ───────────────┴─ answering ─ parts ─┬─ writing ──── CSV, JSON lines, Parquet
                                                     truth ─────┴─ measuring ── plotting

    Selection ── examples ── Selection, put right by labelled images that `showing` shows to the candidates
    unlabelled images ── unlabelled ── weights of domains ── select

A saved selection travels without the hub; an ensemble loads the models it names, and no others. `calibrating` reads
from labels what a model's logits should be divided by. Nothing is imported here: `select` needs `saved` alone.
"""
