"""The `mllctl` command: parse, call the engine once, print.

    main.py       all commands together; errors become exit codes here and nowhere else
    options.py    options that several commands share, and how what they name is found
    classes.py    the classes of a task, from a file, stdin or options
    render.py     tables for people, JSON for programs, progress for both
    one file per noun: hub, graph, images, index, model, task, evaluation, sql, doctor

Data goes to stdout, everything else to stderr.
"""
