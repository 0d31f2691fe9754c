"""CRFsuite as the other side of bench/peers/run: Viterbi with 31 tags over 64 steps, 32 sequences."""
import os
import random
import sys
import tempfile

import pycrfsuite
from worker import serve


def decode():
    rng = random.Random(1)
    words = [f"w{i}" for i in range(200)]
    tags = [f"t{i}" for i in range(31)]
    trainer = pycrfsuite.Trainer(algorithm="ap", verbose=False)
    trainer.set_params({"max_iterations": 1, "feature.possible_transitions": True})
    for _ in range(400):
        trainer.append([[rng.choice(words)] for _ in range(64)], [rng.choice(tags) for _ in range(64)])
    path = os.path.join(tempfile.mkdtemp(dir=sys.argv[2]), "model.crfsuite")
    trainer.train(path)
    tagger = pycrfsuite.Tagger()
    tagger.open(path)
    texts = [pycrfsuite.ItemSequence([[rng.choice(words)] for _ in range(64)]) for _ in range(32)]

    def run():
        for text in texts:
            tagger.tag(text)
    return run


serve({"crf_decode": decode}, lambda n: None)  # it knows one thread only
