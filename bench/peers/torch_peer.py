"""PyTorch as the other side of bench/peers/run: nn.LSTM, pytorch-crf, TextCNN, the BiLSTM-CRF of the headline."""
import functools
import sys
import time

import torch
from torch import nn
from torchcrf import CRF
from worker import ner_lines, serve, tc_lines

data, documents = sys.argv[1], int(sys.argv[3])
torch.manual_seed(1)


def lstm(lengths, train):
    net = nn.LSTM(256, 256, bidirectional=True)
    x = torch.rand(max(lengths), len(lengths), 256, requires_grad=train)
    packed = len(set(lengths)) > 1
    net.train(train)

    def run():
        if not train:
            with torch.inference_mode():
                net(nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths)) if packed else x)
            return
        net.zero_grad()
        y = net(x)[0]
        y.backward(torch.ones_like(y))
    return run


def crf_loss():
    crf, scores = CRF(31), torch.rand(64, 32, 31, requires_grad=True)
    tags = torch.randint(31, (64, 32))

    def run():
        crf.zero_grad()
        scores.grad = None
        (-crf(scores, tags)).backward()
    return run


def crf_decode():
    crf, scores = CRF(31), torch.rand(64, 32, 31)

    def run():
        with torch.no_grad():
            crf.decode(scores)
    return run


def ids(sequences):
    """Every entry's number, from 1 in order of appearance."""
    known = {}
    return [[known.setdefault(x, len(known) + 1) for x in s] for s in sequences], len(known) + 1


def bigrams(chars):
    return [a + b for a, b in zip(chars, [*chars[1:], "\0"])]


def padded(rows, length):
    out = torch.zeros(length, len(rows), dtype=torch.long)
    for b, row in enumerate(rows):
        out[:len(row), b] = torch.tensor(row)
    return out


class Ner(nn.Module):
    """Characters and bigrams of 64, BiLSTM of 128 a direction over packed sequences, CRF."""

    def __init__(self, chars, pairs, tags):
        super().__init__()
        self.chars, self.pairs = nn.Embedding(chars, 64), nn.Embedding(pairs, 64)
        self.lstm, self.project, self.crf = nn.LSTM(128, 128, bidirectional=True), nn.Linear(256, tags), CRF(tags)
        self.drop_in, self.drop_out = nn.Dropout(0.3), nn.Dropout(0.2)

    def forward(self, chars, pairs, lengths):
        x = self.drop_in(torch.cat([self.chars(chars), self.pairs(pairs)], 2))
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        y, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0])
        return self.project(self.drop_out(y))


def batches(lengths, size):
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    return [order[i:i + size] for i in range(0, len(order), size)]


def ner_epoch():
    """Seconds per character of one epoch; the first steps are left out, as on bib's side."""
    lines = [x for x in ner_lines(f"{data}/bib/split/ner.train.txt", documents) if x[0]]
    labels = sorted({s[2] for _, spans in lines for s in spans})
    chars, C = ids(c for c, _ in lines)
    pairs, P = ids(bigrams(c) for c, _ in lines)
    tags = []
    for c, spans in lines:
        row = [0] * len(c)
        for begin, end, label in spans:
            row[begin:end] = [1 + 2 * labels.index(label)] + [2 + 2 * labels.index(label)] * (end - begin - 1)
        tags.append(row)
    net = Ner(C, P, 1 + 2 * len(labels))
    optimiser = torch.optim.Adam(net.parameters(), 6e-3, fused=True)
    seconds, units = 0.0, 0
    for step, group in enumerate(batches([len(c) for c in chars], 32)[::-1]):
        began = time.perf_counter()
        lengths = torch.tensor([len(chars[i]) for i in group])
        T = int(lengths.max())
        a, b, y = (padded([rows[i] for i in group], T) for rows in (chars, pairs, tags))
        mask = torch.arange(T)[:, None] < lengths[None, :]
        optimiser.zero_grad()
        (-net.crf(net(a, b, lengths), y, mask, reduction="mean")).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5)
        optimiser.step()
        if step >= 3:
            seconds += time.perf_counter() - began
            units += int(lengths.sum())
    return seconds / units


def ner_predict():
    lines = [[c for c in line if not c.isspace()] for line in open(f"{data}/bib/ner_predict.txt", encoding="utf-8")]
    lines = [c for c in lines if c]
    known_chars = {c: i + 1 for i, c in enumerate(sorted({x for c in lines for x in c}))}
    known_pairs = {c: i + 1 for i, c in enumerate(sorted({x for c in lines for x in bigrams(c)}))}
    net = Ner(len(known_chars) + 1, len(known_pairs) + 1, 31).eval()

    def run():
        with torch.inference_mode():
            for group in batches([len(c) for c in lines], 32):
                lengths = torch.tensor([len(lines[i]) for i in group])
                T = int(lengths.max())
                a = padded([[known_chars[x] for x in lines[i]] for i in group], T)
                b = padded([[known_pairs[x] for x in bigrams(lines[i])] for i in group], T)
                net.crf.decode(net(a, b, lengths), torch.arange(T)[:, None] < lengths[None, :])
    return run


class TextCnn(nn.Module):
    """bib's default: characters 48, bigrams 64, jamo 3 x 8, shape 8; 112 filters of widths 1 to 4."""

    def __init__(self, sizes, classes):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(v, e) for v, e in sizes)
        width = sum(e for _, e in sizes)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, 112, k, padding=k // 2) for k in (1, 2, 3, 4))
        self.project, self.drop_in, self.drop_out = nn.Linear(448, classes), nn.Dropout(0.2), nn.Dropout(0.3)

    def forward(self, features):
        x = self.drop_in(torch.cat([t(f) for t, f in zip(self.tables, features)], 2)).transpose(1, 2)
        pooled = [torch.relu(c(x)).amax(2) for c in self.convolutions]
        return self.project(self.drop_out(torch.cat(pooled, 1)))


def tc_step(compiled):
    """Seconds of one step. Batches are made beforehand here; bib's side makes them within the time."""
    lines = [(c, y) for x, y in tc_lines(f"{data}/bib/split/tc.train.txt", documents)
             if (c := [z for z in x if not z.isspace()])]
    classes = {y: i for i, y in enumerate(sorted({y for _, y in lines}))}
    chars, C = ids(c for c, _ in lines)
    pairs, P = ids(bigrams(c) for c, _ in lines)
    jamo = [[max(0, ord(x) - 0xAC00) for x in c] for c, _ in lines]
    parts = [[[min(j // d % n + 1, n) for j in row] for row in jamo] for d, n in ((588, 19), (28, 21), (1, 28))]
    shape = [[1 + x.isdigit() + 2 * x.isalpha() for x in c] for c, _ in lines]
    net = TextCnn([(C, 48), (P, 64), (20, 8), (22, 8), (29, 8), (16, 8)], len(classes))
    optimiser = torch.optim.Adam(net.parameters(), 3e-3, fused=True)
    loss_of = lambda features, y: nn.functional.cross_entropy(net(features), y)
    if compiled:
        loss_of = torch.compile(loss_of, dynamic=True)
    ready = []
    for group in batches([len(c) for c in chars], 32):
        T = max(len(chars[i]) for i in group) + 4
        features = [padded([rows[i] for i in group], T).t().contiguous() for rows in (chars, pairs, *parts, shape)]
        ready.append((features, torch.tensor([classes[lines[i][1]] for i in group])))
    seconds = []
    for features, y in ready[:3] + ready:
        began = time.perf_counter()
        optimiser.zero_grad()
        loss_of(features, y).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5)
        optimiser.step()
        seconds.append(time.perf_counter() - began)
    return sum(seconds[3:]) / len(seconds[3:])


serve({
    "lstm_forward_32": lambda: lstm([64] * 32, False),
    "lstm_forward_1": lambda: lstm([64], False),
    "lstm_forward_4": lambda: lstm([64, 47, 31, 12], False),
    "lstm_train_32": lambda: lstm([64] * 32, True),
    "crf_loss": crf_loss,
    "crf_decode": crf_decode,
    "ner_epoch": ner_epoch,
    "ner_predict": ner_predict,
    "tc_step": functools.partial(tc_step, False),
    "tc_step_compiled": functools.partial(tc_step, True),
}, torch.set_num_threads)
