"""PyTorch on the GPU beside bib_grid: a row's name in, a JSON object {variant: microseconds} out, a line each.

Variants are what a user could write: dtypes, padded or packed input, eager, captured as a CUDA graph, compiled. The CRF is
the algorithm of pytorch-crf: a Python loop over time, and in decoding one look at the device per token.
"""
import json
import statistics
import sys

import torch
from torch import nn

gpu = torch.device("cuda")
torch.manual_seed(1)


def microseconds(run, budget_ms=150):
    """Median over groups of runs, by events; the groups are long enough to hide the events."""
    for _ in range(3):
        run()
    torch.cuda.synchronize()

    def group(n):
        begin, end = torch.cuda.Event(True), torch.cuda.Event(True)
        begin.record()
        for _ in range(n):
            run()
        end.record()
        torch.cuda.synchronize()
        return 1e3 * begin.elapsed_time(end) / n
    n = max(1, min(50, int(1e3 * budget_ms / 7 / max(1.0, group(1)))))
    return statistics.median(group(n) for _ in range(7))


def captured(step):
    """The step as a CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def tried(variants):
    """{name: microseconds}, or the reason in words where PyTorch cannot."""
    out = {}
    for name, make in variants.items():
        try:
            out[name] = microseconds(make())
        except Exception as e:
            out[name] = f"{type(e).__name__}: {e}".splitlines()[0][:120]
    return out


def sizes(row):
    return {p[0]: int(p[1:]) for p in row.split("/")[1:] if p[0] in "hbtk" and p[1:].isdigit()}


def lengths_of(B, T, ragged):
    """As in bib_grid: from T down to T/8, evenly."""
    return [max(1, T - (T - T // 8) * b // max(1, B - 1)) if ragged else T for b in range(B)]


def lstm(row):
    s, ragged, train = sizes(row), row.endswith("ragged"), row.startswith("lstm_train")
    H, B, T, I = s["h"], s["b"], s["t"], min(s["h"], 256)
    lengths = torch.tensor(lengths_of(B, T, ragged))

    def variant(dtype, packed):
        def make():
            net = nn.LSTM(I, H, bidirectional=True, device=gpu, dtype=dtype)
            x = torch.rand(T, B, I, device=gpu, dtype=dtype, requires_grad=train)

            def run():
                given = nn.utils.rnn.pack_padded_sequence(x, lengths) if packed else x
                if not train:
                    with torch.no_grad():
                        net(given)
                    return
                net.zero_grad(set_to_none=True)
                y = net(given)[0]
                (y.data if packed else y).sum().backward()
            return run
        return make
    out = {}
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        name = str(dtype).split(".")[1]
        out[name + " padded"] = variant(dtype, False)
        if ragged:
            out[name + " packed"] = variant(dtype, True)
    return tried(out)


class Crf(nn.Module):
    def __init__(self, K):
        super().__init__()
        self.first, self.last = nn.Parameter(torch.rand(K)), nn.Parameter(torch.rand(K))
        self.transition = nn.Parameter(torch.rand(K, K))

    def loss(self, scores, tags):
        T, B, _ = scores.shape
        at = torch.arange(B, device=scores.device)
        gold, alpha = self.first[tags[0]] + scores[0, at, tags[0]], self.first + scores[0]
        for t in range(1, T):
            gold = gold + self.transition[tags[t - 1], tags[t]] + scores[t, at, tags[t]]
            alpha = torch.logsumexp(alpha[:, :, None] + self.transition + scores[t][:, None, :], 1)
        return (torch.logsumexp(alpha + self.last, 1) - gold - self.last[tags[-1]]).sum()

    def decode(self, scores):
        best, back = self.first + scores[0], []
        for t in range(1, scores.shape[0]):
            best, where = (best[:, :, None] + self.transition + scores[t][:, None, :]).max(1)
            back.append(where)
        paths = []
        for b, tag in enumerate((best + self.last).argmax(1)):
            path = [tag.item()]
            for where in reversed(back):
                path.append(where[b][path[-1]].item())
            paths.append(path[::-1])
        return paths


def crf(row):
    s = sizes(row)
    net, scores = Crf(s["k"]).to(gpu), torch.rand(s["t"], s["b"], s["k"], device=gpu, requires_grad=True)
    tags = torch.randint(s["k"], (s["t"], s["b"]), device=gpu)
    if row.startswith("crf_decode"):
        def decode():
            with torch.no_grad():
                net.decode(scores)
        return tried({"eager": lambda: decode})

    def step():
        net.zero_grad(set_to_none=False)
        net.loss(scores, tags).backward()
    return tried({"eager": lambda: step, "captured": lambda: captured(step)})


def embedding_adam(_):
    V, E, N = 120000, 512, 4096
    table, ids = nn.Embedding(V, E, device=gpu), torch.randint(V, (N,), device=gpu)
    optimiser = torch.optim.Adam(table.parameters(), fused=True)

    def step():
        optimiser.zero_grad(set_to_none=True)
        table(ids).sum().backward()
        optimiser.step()
    return tried({"dense, fused Adam": lambda: step})


def steps_of(net, loss):
    """A training step eager, captured and compiled; the optimiser is fused and may be captured."""
    optimiser = torch.optim.Adam(net.parameters(), fused=True, capturable=True)

    def step():
        optimiser.zero_grad(set_to_none=False)
        loss().backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5)
        optimiser.step()
    return {"eager": lambda: step, "captured": lambda: captured(step)}


def textcnn_step(_):
    V, B, T, E, F, K = 5000, 64, 64, 300, 100, 13

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.project = nn.Embedding(V, E), nn.Linear(3 * F, K)
            self.convolutions = nn.ModuleList(nn.Conv1d(E, F, k, padding=k // 2) for k in (3, 4, 5))

        def forward(self, ids):
            x = self.table(ids).transpose(1, 2)
            y = torch.cat([torch.relu(c(x)).amax(2) for c in self.convolutions], 1)
            return self.project(nn.functional.dropout(y, 0.5))
    net, ids, labels = Net().to(gpu), torch.randint(V, (B, T), device=gpu), torch.randint(K, (B,), device=gpu)
    loss = lambda: nn.functional.cross_entropy(net(ids), labels)
    variants = steps_of(net, loss)
    fast = torch.compile(net)
    variants["compiled"] = steps_of(net, lambda: nn.functional.cross_entropy(fast(ids), labels))["eager"]
    return tried(variants)


def ner_step(_):
    V, B, T, E, H, K = 5000, 32, 64, 128, 256, 31

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.lstm = nn.Embedding(V, E), nn.LSTM(E, H, bidirectional=True)
            self.project, self.crf = nn.Linear(2 * H, K), Crf(K)

        def forward(self, ids, tags):
            y = self.lstm(nn.functional.dropout(self.table(ids), 0.3))[0]
            return self.crf.loss(self.project(nn.functional.dropout(y, 0.3)), tags) / B
    net = Net().to(gpu)
    ids, tags = torch.randint(V, (T, B), device=gpu), torch.randint(K, (T, B), device=gpu)
    return tried(steps_of(net, lambda: net(ids, tags)))


ROWS = {"lstm_forward": lstm, "lstm_train": lstm, "crf_loss": crf, "crf_decode": crf, "embedding_adam": embedding_adam,
        "textcnn_step": textcnn_step, "ner_step": ner_step}

if __name__ == "__main__":
    print(json.dumps({"torch": torch.__version__, "cudnn": torch.backends.cudnn.version(),
                      "gpu": torch.cuda.get_device_name()}), flush=True)
    for line in sys.stdin:
        print(json.dumps(ROWS[line.split("/")[0].strip()](line.strip())), flush=True)
