-- One part of a model's label: a file of its own, written once, attached read-only. The first part holds the label as
-- it was made; each later one what images and nodes that came or went have changed. Parts are merged by `hub compact`.

CREATE TABLE label_made (              -- what made this part
    graph_version UINTEGER NOT NULL,
    fingerprint VARCHAR NOT NULL,
    preprocess VARCHAR NOT NULL,
    tokenizer VARCHAR NOT NULL,
    libraries VARCHAR NOT NULL         -- JSON
);

CREATE TABLE label_node (              -- all nodes that compete as of this part; the last part counts
    node UINTEGER NOT NULL
);

CREATE TABLE label_state (             -- blocks this part says something new of; the last part that has a block counts
    block UINTEGER NOT NULL,
    labelled UBIGINT NOT NULL,         -- bit set: the model was shown that image; no row never means a hit
    beaten UBIGINT NOT NULL            -- bit set: some competing node takes that image from its true one
);

CREATE TABLE label_row (               -- images whose ordered rivals this part holds, in the Arrow file beside it
    block UINTEGER NOT NULL,
    shown UBIGINT NOT NULL,            -- bit set: that image
    row UINTEGER NOT NULL              -- of the first of them; the others follow, bit by bit
);

CREATE TABLE rival_mask (              -- sorted by (node, block, mask, rival): equal masks together; parts are OR-ed
    node UINTEGER NOT NULL,            -- the true node of the block
    block UINTEGER NOT NULL,
    rival UINTEGER NOT NULL,           -- a node that beats it on at least one image
    mask UBIGINT NOT NULL              -- bit set: on that image
);

CREATE TABLE image_label (             -- the last part that has an image counts
    image UINTEGER NOT NULL,
    similarity FLOAT NOT NULL,         -- cosine with the caption of its true node
    rank UINTEGER NOT NULL,            -- how many nodes beat the true one; 0 is a hit over all nodes
    rivals UINTEGER[] NOT NULL,        -- the first eight of these, best first; all of them are in the Arrow file
    rival_similarities FLOAT[] NOT NULL,
    runners_up UINTEGER[] NOT NULL,    -- the three best of the other nodes, best first
    runner_up_similarities FLOAT[] NOT NULL
);
