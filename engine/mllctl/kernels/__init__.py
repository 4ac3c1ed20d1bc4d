"""The arithmetic of the papers: arrays in, arrays out, one equation family a file.

    captions    the vector of a class that has several captions
    transfer    which nodes stand for which class (matrix Z)
    precision   integer hits of a model on the selected nodes (Eq 5)
    evidence    hits per domain, weighted by domain (our extension of Eq 5)
    shrinkage   precision from few images: empirical Bayes round a node's kin, with intervals
    examples    precision put right by a few labelled images of the user's
    domains     which sample domains unlabelled images are like
    beta        beta distributions: their normaliser and quantiles
    bootstrap   means of a task, drawn again and again from the images of its nodes
    typical     how often an image is a hit in tasks that are drawn at random
    advantage   how sure one model is ahead of another, from both
    reuse       class precision, reuse metric, best models (Eq 6, 7)
    subset      few models chosen together for many classes; quality against cost
    ensemble    confidence of several models together (Eq 8-10)
    measures    what answers are worth when the truth is known: confusion, ranks, calibration
    calibration the temperature of a model from logits and truth
    sdag        mean logits of an expert -> labels of a semantic graph's nodes; which node is which class
    chco        combine heads of experts for classes, choose experts, and let them answer together (Eq 4-13)
    simplices   lower a quadratic over simplices: the steps of chco
    patch       experts and a general model together
    summary     features of labelled images, summed up for the scores of transferability
    marginal    the evidence of linear models over features (LogME)
    emms        how well features reach label embeddings of several foundation models
    mixture     a mixture of Gaussians, for N-LEEP
    transferability  all such scores under one name
    ranking     how good a ranking of models is: regret, the top, rank correlations
    paired      whether one method beats another over tasks
    order       embeddings of one model -> who beats the true node of each image, best first

Axes: m models, c classes, v nodes, i images, h heads, d embedding width. float64 unless said.
All ties go to the lowest index. Nothing here reads a file or a clock; random numbers come
from a generator that was handed in.
"""
