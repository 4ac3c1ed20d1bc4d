-- A hub's catalog: everything but labels and embeddings. Small; copied as a whole for each commit.
-- Ordinals (UINTEGER) are append-only and never reused: labels and embeddings refer to them.

CREATE TABLE counter (
    kind VARCHAR PRIMARY KEY,          -- 'model', 'image' or 'block'
    next UINTEGER NOT NULL             -- the ordinal the next one gets
);
INSERT INTO counter VALUES ('model', 0), ('image', 0), ('block', 0);

CREATE TABLE domain (
    domain UINTEGER PRIMARY KEY,       -- 0, 1, ... without gaps
    name VARCHAR NOT NULL UNIQUE,      -- such as 'photo'
    description VARCHAR NOT NULL       -- one line: what its images look like
);

CREATE TABLE domain_embedding (        -- written by `index build`, by the index's encoder
    domain UINTEGER PRIMARY KEY,
    embedding FLOAT[] NOT NULL         -- unit vector of the description
);

CREATE TABLE node (
    node UINTEGER PRIMARY KEY,         -- 0, 1, ... without gaps; row of the caption index
    synset VARCHAR NOT NULL UNIQUE,    -- 'dog.n.01'
    wnid VARCHAR NOT NULL UNIQUE,      -- 'n02084071'
    name VARCHAR NOT NULL,             -- 'dog'
    definition VARCHAR NOT NULL,
    lexname VARCHAR NOT NULL,          -- WordNet's lexicographer file, such as 'animal'
    caption VARCHAR NOT NULL           -- what models are labelled with and classes are matched to
);

CREATE TABLE graph (                   -- one row per `graph build`
    version UINTEGER PRIMARY KEY,
    nodes UINTEGER NOT NULL            -- number of nodes it covered
);

CREATE TABLE edge (
    parent UINTEGER NOT NULL,          -- node
    child UINTEGER NOT NULL,           -- node; parent is its hypernym
    PRIMARY KEY (parent, child)
);

CREATE TABLE block (                   -- up to 64 images of one node in one domain
    block UINTEGER PRIMARY KEY,
    node UINTEGER NOT NULL,
    domain UINTEGER NOT NULL,
    used UTINYINT NOT NULL,            -- bits ever given out, 1..64; a bit is never reused
    live UBIGINT NOT NULL              -- bit set: that image is still in the hub
);

CREATE TABLE image (                   -- sorted by image; no index: it would be two thirds of a large catalog
    image UINTEGER NOT NULL,
    node UINTEGER NOT NULL,            -- its one truth
    block UINTEGER NOT NULL,
    bit UTINYINT NOT NULL,             -- 0..63
    uri VARCHAR NOT NULL,              -- see mllctl.images
    sha256 VARCHAR NOT NULL            -- of the encoded bytes: the same file counts once
);

CREATE TABLE model (
    model UINTEGER PRIMARY KEY,
    name VARCHAR NOT NULL UNIQUE,      -- 'arch/weights'
    kind VARCHAR NOT NULL,             -- 'open_clip', 'conse', 'sentence_transformers' or a plugin's
    fingerprint VARCHAR NOT NULL,      -- SHA-256 of the weights
    parameters UBIGINT NOT NULL,
    image_size UINTEGER NOT NULL,      -- pixels
    embedding_width UINTEGER NOT NULL,
    logit_scale DOUBLE NOT NULL,
    logit_bias DOUBLE NOT NULL,
    preprocess VARCHAR NOT NULL,
    tokenizer VARCHAR NOT NULL,
    source VARCHAR NOT NULL,           -- what `model add` was given
    libraries VARCHAR NOT NULL         -- JSON: name -> version; 'canary' -> see mllctl.backends.canary
);
