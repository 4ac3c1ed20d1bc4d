"""The `mllctl` command: parse, call the engine once, print.

    main.py       all commands together; errors become exit codes here and nowhere else
    options.py    options that several commands share, and how what they name is found
    classes.py    the classes of a task, from a file, stdin or options
    render.py     tables for people, JSON for programs, progress for both
    budget.py     limits on models, and quality against cost
    one file per noun or verb: hub, graph, images, model, label, select, explain and so on; main.py lists them

Data goes to stdout, everything else to stderr.
"""
