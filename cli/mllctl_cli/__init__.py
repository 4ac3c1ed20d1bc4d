"""The `mllctl` command: parse, call the engine once, print.

    main.py       all commands together; errors become exit codes here and nowhere else
    options.py    options that several commands share, and how a hub is found
    render.py     tables for people, JSON for programs, progress for both
    one file per noun: hub, graph, images, index, model, task, sql, doctor

Data goes to stdout, everything else to stderr.
"""
