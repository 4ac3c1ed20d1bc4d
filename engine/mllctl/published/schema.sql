-- Published results, gathered. Rows are only ever added: what one source says of one result is said once.

CREATE TABLE layout (
    version UINTEGER NOT NULL          -- of these tables; a file of another version is refused
);
INSERT INTO layout VALUES (1);

CREATE TABLE import (
    import UINTEGER PRIMARY KEY,       -- 0, 1, ... without gaps
    path VARCHAR NOT NULL,             -- as it was named
    format VARCHAR NOT NULL,           -- 'open_clip', 'clip_benchmark', 'lovm' or 'long'
    notes VARCHAR[] NOT NULL,          -- what was converted, renamed or left out
    mllctl VARCHAR NOT NULL,           -- version that read it
    imported TIMESTAMP NOT NULL        -- UTC
);

CREATE TABLE results (
    import UINTEGER NOT NULL,
    line UINTEGER NOT NULL,            -- place among the results of its import, from 0
    model VARCHAR NOT NULL,            -- 'ViT-B-32/openai'
    dataset VARCHAR NOT NULL,          -- 'ImageNet 1k'
    metric VARCHAR NOT NULL,           -- 'acc1'
    value DOUBLE NOT NULL,             -- in [0, 1]
    unit VARCHAR NOT NULL,             -- 'fraction' or 'percent': what the source gives
    protocol VARCHAR NOT NULL,         -- how it was measured; empty if the source does not say
    source VARCHAR NOT NULL,           -- whose number it is
    PRIMARY KEY (model, dataset, metric, protocol, source)
);
