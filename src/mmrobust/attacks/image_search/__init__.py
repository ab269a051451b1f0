"""Searches for adversarial images inside a budget; each maximises any objective of one image.

They are our own, since the common libraries attack classifiers. torchattacks takes images and
labels and maximises losses of logits that it brings; ART wants a classifier, and its Auto-PGD that
classifier's loss or one of two; foolbox lets `get_loss_fn` be overridden, and hands it the labels
of a batch. Their random draws come from global generators, so that an item's depend on its batch,
and the Square Attacks of torchattacks and ART move one window for all images of a batch. A
retrieval objective for each item, a generator for each item and a budget that brings its norm fit
none of them. Auto-PGD and the Square Attack follow the papers and the code of AutoAttack, and say
where they part from them.
"""
