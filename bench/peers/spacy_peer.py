"""spacy_peer.py DATA DOCUMENTS EPOCHS: spaCy's CNN named-entity recogniser from scratch, characters as tokens.

Prints one JSON object: tokens a second in training and in prediction, micro F1 on the test split."""
import json
import random
import sys
import time

import spacy
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import minibatch
from thinc.api import fix_random_seed
from worker import ner_lines

data, documents, epochs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
fix_random_seed(1)
random.seed(1)
nlp = spacy.blank("xx")
ner = nlp.add_pipe("ner")


def example(chars, spans):
    words = Doc(nlp.vocab, words=chars, spaces=[False] * len(chars))
    gold = Doc(nlp.vocab, words=chars, spaces=[False] * len(chars))
    gold.set_ents([gold[b:e] for b, e, _ in spans] and [spacy.tokens.Span(gold, b, e, label=l) for b, e, l in spans])
    return Example(words, gold)


train = [example(c, s) for c, s in ner_lines(f"{data}/bib/split/ner.train.txt", documents) if c]
test = [(c, s) for c, s in ner_lines(f"{data}/bib/split/ner.test.txt") if c]
optimiser = nlp.initialize(lambda: train)
tokens, seconds = 0, 0.0
for epoch in range(epochs):
    random.shuffle(train)
    for group in minibatch(train, 32):
        began = time.perf_counter()
        nlp.update(group, drop=0.2, sgd=optimiser)
        seconds += time.perf_counter() - began
        tokens += sum(len(e.predicted) for e in group)
docs = [Doc(nlp.vocab, words=c, spaces=[False] * len(c)) for c, _ in test]
began = time.perf_counter()
for _ in nlp.pipe(docs, batch_size=256):
    pass
predict = time.perf_counter() - began
found = [{(e.start, e.end, e.label_) for e in d.ents} for d in docs]
gold = [set(s) for _, s in test]
right, answered, wanted = sum(len(f & g) for f, g in zip(found, gold)), sum(map(len, found)), sum(map(len, gold))
print(json.dumps({"train": tokens / seconds, "predict": sum(map(len, docs)) / predict,
                  "f1": 2 * right / max(1, answered + wanted), "seconds": seconds}))
