-- Results of benchmarks, in the file of published results or in one of their own. Rows are only ever added.

CREATE TABLE IF NOT EXISTS bench_run (
    run UINTEGER PRIMARY KEY,          -- 0, 1, ... without gaps
    kind VARCHAR NOT NULL,             -- 'run', 'ablate', 'grow' or 'subhubs'
    suite VARCHAR NOT NULL,
    command VARCHAR NOT NULL,          -- that makes it again
    key VARCHAR NOT NULL,              -- digest of all that decides the numbers
    settings JSON NOT NULL,            -- methods, seeds, options
    versions JSON NOT NULL,            -- of libraries and hub
    missing VARCHAR[] NOT NULL,        -- what the suite asks for and was not there
    started TIMESTAMP NOT NULL         -- UTC
);

CREATE TABLE IF NOT EXISTS bench_finished (
    run UINTEGER PRIMARY KEY,
    finished TIMESTAMP NOT NULL        -- UTC; a run that is not here was interrupted
);

CREATE TABLE IF NOT EXISTS bench_cell (
    run UINTEGER NOT NULL,
    seed UINTEGER NOT NULL,
    task VARCHAR NOT NULL,
    variant VARCHAR NOT NULL,          -- 'alpha=0.5'; empty where nothing was changed
    method VARCHAR NOT NULL,
    chosen VARCHAR[] NOT NULL,         -- models, most used first
    seconds DOUBLE NOT NULL,           -- that choosing took; what methods share counts for the first
    PRIMARY KEY (run, seed, task, variant, method)
);

CREATE TABLE IF NOT EXISTS bench_outcome (
    run UINTEGER NOT NULL,
    seed UINTEGER NOT NULL,
    task VARCHAR NOT NULL,
    variant VARCHAR NOT NULL,
    method VARCHAR NOT NULL,           -- or a model, of the metrics 'reached' and 'F1 of CLASS'
    metric VARCHAR NOT NULL,
    value DOUBLE,                      -- NULL where the metric is not defined
    low DOUBLE,                        -- 90 % over the images of the task; NULL where there is no interval
    high DOUBLE
);

CREATE OR REPLACE VIEW bench AS
    SELECT kind, suite, task, variant, method, metric, value, low, high, seed, run, settings, versions, started
      FROM bench_outcome JOIN bench_run USING (run);
