-- What `mllctl sql` shows under readable names. The tables of a label are unions of its parts' files, with columns
-- `model` and `part` in front; where a later part says something new of a block or an image, only that is shown.

CREATE VIEW model_card AS
SELECT m.name AS model, m.kind, m.parameters, m.image_size, m.embedding_width, m.logit_scale, m.logit_bias,
       m.preprocess, m.tokenizer, m.libraries, m.fingerprint, m.source,
       coalesce(s.images, 0)::UINTEGER AS images, l.graph_version
  FROM model m
  LEFT JOIN (SELECT model, sum(bit_count(labelled)) AS images FROM label_state GROUP BY model) s USING (model)
  LEFT JOIN label_made l USING (model);

CREATE VIEW sample AS
SELECT i.image, n.synset AS node, d.name AS domain, i.uri, i.sha256
  FROM image i JOIN node n USING (node) JOIN block b USING (block) JOIN domain d USING (domain);

-- Over all nodes with evidence. A hit is an image that no other node takes from its true one.
CREATE VIEW precision_by_domain AS
SELECT m.name AS model, n.synset AS node, d.name AS domain,
       sum(bit_count(s.labelled & b.live & ~s.beaten))::BIGINT AS hits,
       sum(bit_count(s.labelled & b.live))::BIGINT AS images,
       hits / images AS precision
  FROM label_state s JOIN block b USING (block) JOIN node n USING (node) JOIN domain d USING (domain)
  JOIN model m USING (model)
 GROUP BY m.name, n.synset, d.name
HAVING sum(bit_count(s.labelled & b.live)) > 0;

CREATE VIEW precision AS
SELECT model, node, sum(hits)::BIGINT AS hits, sum(images)::BIGINT AS images,
       sum(hits)::BIGINT / sum(images)::BIGINT AS precision
  FROM precision_by_domain
 GROUP BY model, node;

-- Which node each image went to, over all nodes with evidence.
CREATE VIEW confusion AS
SELECT m.name AS model, truth.synset AS truth, winner.synset AS winner, count(*) AS images
  FROM image_label l JOIN image i USING (image) JOIN model m USING (model) JOIN node truth ON truth.node = i.node
  JOIN node winner ON winner.node = CASE WHEN l.rank = 0 THEN i.node ELSE l.rivals[1] END
 GROUP BY ALL;

-- How good each node fares over all nodes with evidence: recall is `precision` above, the part of its own images that
-- a node keeps; precision here is the part of the images it is given that are its own.
CREATE VIEW scores AS
WITH own AS (SELECT model, truth AS node, sum(images) AS shown, sum(images) FILTER (winner = truth) AS hits
               FROM confusion GROUP BY model, truth),
     given AS (SELECT model, winner AS node, sum(images) AS given FROM confusion GROUP BY model, winner)
SELECT model, node, coalesce(hits, 0)::BIGINT AS hits, shown::BIGINT AS images, coalesce(given, 0)::BIGINT AS given,
       coalesce(hits, 0) / shown AS recall,
       CASE WHEN given > 0 THEN coalesce(hits, 0) / given ELSE 0 END AS precision,
       2 * coalesce(hits, 0) / (shown + coalesce(given, 0)) AS f1
  FROM own LEFT JOIN given USING (model, node);

-- The similarities that are kept: the true node's, the first eight rivals', three runners-up.
CREATE VIEW similarity AS
WITH kept AS (
    SELECT model, image, 'truth' AS role, i.node AS node, similarity FROM image_label JOIN image i USING (image)
     UNION ALL
    SELECT model, image, 'rival', unnest(rivals), unnest(rival_similarities) FROM image_label
     UNION ALL
    SELECT model, image, 'runner-up', unnest(runners_up), unnest(runner_up_similarities) FROM image_label
)
SELECT m.name AS model, k.image, t.synset AS truth, k.role, n.synset AS node, k.similarity
  FROM kept k JOIN image i USING (image) JOIN node t ON t.node = i.node JOIN node n ON n.node = k.node
  JOIN model m USING (model);

-- Eq 5 over a selection: SELECT * FROM precision_over(['dog.n.01', 'cat.n.01']).
CREATE MACRO precision_over(nodes) AS TABLE
WITH chosen AS (SELECT node, synset FROM node WHERE synset IN (SELECT unnest(nodes))),
     lost AS (SELECT r.model, r.block, bit_or(r.mask) AS mask
                FROM rival_mask r
               WHERE r.node IN (SELECT node FROM chosen) AND r.rival IN (SELECT node FROM chosen)
               GROUP BY r.model, r.block)
SELECT m.name AS model, c.synset AS node,
       sum(bit_count(s.labelled & b.live & ~coalesce(lost.mask, 0::UBIGINT)))::BIGINT AS hits,
       sum(bit_count(s.labelled & b.live))::BIGINT AS images,
       hits / images AS precision
  FROM label_state s JOIN block b USING (block) JOIN chosen c USING (node) JOIN model m USING (model)
  LEFT JOIN lost ON lost.model = s.model AND lost.block = s.block
 GROUP BY m.name, c.synset, c.node
HAVING sum(bit_count(s.labelled & b.live)) > 0
 ORDER BY m.name, c.synset;

-- Experts. Logits are log-probabilities: an expert's own logits but for a constant an image, which no softmax sees.
CREATE VIEW expert_card AS
SELECT e.name AS expert, e.kind, e.parameters, e.image_size, len(e.heads)::UINTEGER AS heads, e.preprocess,
       e.libraries, e.fingerprint, e.source, coalesce(s.images, 0)::UINTEGER AS images
  FROM expert_made e
  LEFT JOIN (SELECT expert, sum(bit_count(shown)) AS images FROM expert_block GROUP BY expert) s USING (expert);

CREATE VIEW expert_head AS
SELECT expert, unnest(range(len(heads)))::UINTEGER AS head, unnest(heads) AS name
  FROM (SELECT name AS expert, heads FROM expert_made);

-- Eq 1: mean logit of each head over the images of a node.
CREATE VIEW head_logit AS
WITH answered AS (
    SELECT e.name AS expert, b.node, bit_count(s.shown) AS images, unnest(range(len(s.total)))::UINTEGER AS head,
           unnest(s.total) AS total
      FROM expert_block s JOIN expert_made e USING (expert) JOIN block b USING (block)
     WHERE s.shown <> 0
)
SELECT a.expert, n.synset AS node, a.head, h.name, sum(a.images)::BIGINT AS images,
       sum(a.total) / sum(a.images)::BIGINT AS mean_logit
  FROM answered a JOIN node n USING (node) JOIN expert_head h ON h.expert = a.expert AND h.head = a.head
 GROUP BY a.expert, n.synset, a.head, h.name;

-- Eq 2, the literal reading: SELECT * FROM expert_label(0.5). A node without images takes its children's mean, one
-- without children that have images its own.
CREATE MACRO expert_label(discount) AS TABLE
WITH below AS (
    SELECT p.synset AS node, l.expert, l.head, avg(l.mean_logit) AS mean_logit
      FROM edge e JOIN node p ON p.node = e.parent JOIN node c ON c.node = e.child JOIN head_logit l ON l.node = c.synset
     GROUP BY p.synset, l.expert, l.head
)
SELECT coalesce(o.expert, b.expert) AS expert, coalesce(o.node, b.node) AS node, coalesce(o.head, b.head) AS head,
       CASE WHEN o.head IS NULL THEN b.mean_logit
            WHEN b.head IS NULL THEN o.mean_logit
            ELSE discount * o.mean_logit + (1 - discount) * b.mean_logit END AS logit
  FROM head_logit o FULL JOIN below b ON b.expert = o.expert AND b.node = o.node AND b.head = o.head;
