-- One part of an expert's label: a file of its own, written once, attached read-only. An expert is a classifier with
-- outputs (heads) of its own; what it showed is what its heads answered, not which node won. A later part holds the
-- blocks whose images have changed.

CREATE TABLE expert_made (             -- one row, the expert's card; the last part counts
    name VARCHAR NOT NULL,             -- 'arch/weights', unlike that of any other model of the hub
    kind VARCHAR NOT NULL,             -- 'timm', 'torchvision', 'onnx', 'hf' or a plugin's
    fingerprint VARCHAR NOT NULL,      -- SHA-256 of the weights
    parameters UBIGINT NOT NULL,
    image_size UINTEGER NOT NULL,      -- pixels
    heads VARCHAR[] NOT NULL,          -- names of its outputs; '' where not known. Nothing is selected by them
    preprocess VARCHAR NOT NULL,
    source VARCHAR NOT NULL,           -- what `model add` was given
    libraries VARCHAR NOT NULL         -- JSON: name -> version
);

CREATE TABLE expert_block (            -- the last part that has a block counts
    block UINTEGER NOT NULL,
    shown UBIGINT NOT NULL,            -- bit set: that image is in the sum
    total DOUBLE[] NOT NULL            -- of each head: exact sum of float16 log-probabilities over the images shown
);
