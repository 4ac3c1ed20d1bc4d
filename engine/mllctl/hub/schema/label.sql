-- One model's label: a file of its own, written once, attached read-only.

CREATE TABLE label_made (              -- what made this label
    graph_version UINTEGER NOT NULL,
    fingerprint VARCHAR NOT NULL,
    preprocess VARCHAR NOT NULL,
    tokenizer VARCHAR NOT NULL,
    libraries VARCHAR NOT NULL         -- JSON
);

CREATE TABLE label_node (              -- nodes the images were compared with
    node UINTEGER NOT NULL
);

CREATE TABLE label_state (             -- images the model was shown; no row never means a hit
    block UINTEGER NOT NULL,
    labelled UBIGINT NOT NULL
);

CREATE TABLE rival_mask (              -- sorted by (node, block, mask, rival): equal masks together
    node UINTEGER NOT NULL,            -- the true node of the block
    block UINTEGER NOT NULL,
    rival UINTEGER NOT NULL,           -- a node that beats it on at least one image
    mask UBIGINT NOT NULL              -- bit set: on that image
);

CREATE TABLE image_label (             -- sorted by image
    image UINTEGER NOT NULL,
    similarity FLOAT NOT NULL,         -- cosine with the caption of its true node
    rank UINTEGER NOT NULL,            -- how many nodes beat the true one; 0 is a hit over all nodes
    rivals UINTEGER[] NOT NULL,        -- these nodes, best first; a shipped hub keeps the first eight
    rival_similarities FLOAT[] NOT NULL,     -- of the first eight rivals
    runners_up UINTEGER[] NOT NULL,    -- the three best of the other nodes, best first
    runner_up_similarities FLOAT[] NOT NULL
);
