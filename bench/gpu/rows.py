"""The rows of scripts/gpu-check's comparison: names that bib_grid and torch_grid.py both understand, and their bars."""

GRID = [(h, b, t) for h in (256, 128, 512) for b in (32, 4, 128, 512) for t in (64, 32, 128, 512)]


def lstm(full):
    """lstm_forward/h256/b32/t64/padded: a bidirectional layer, inputs as wide as H up to 256. The first ones say most,
    as a run may end at any of them; the largest need the most memory."""
    shapes = sorted(GRID, key=lambda hbt: hbt[1] * hbt[2] > 65536) if full else \
        [(h, b, 64) for b in (32, 4, 128, 512) for h in (256, 128, 512)] + [(256, 32, t) for t in (32, 128, 512)] + \
        [(160, 32, 64)]  # the default model's
    return [f"{op}/h{h}/b{b}/t{t}/{kind}" for h, b, t in shapes for op in ("lstm_forward", "lstm_train")
            for kind in ("padded", "ragged")]


def sizes(row):
    return {part[0]: int(part[1:]) for part in row.split("/")[1:] if part[1:].isdigit()}


def op_of(row):
    return row.split("/")[0]


def in_grid(row):
    """Is it of the LSTM's bars? Other sizes may be measured, too."""
    s = sizes(row)
    return row.startswith("lstm") and (s.get("h"), s.get("b"), s.get("t")) in GRID


CRF = {op: [f"{op}/k31/b{b}/t128" for b in (32, 512)] for op in ("crf_loss", "crf_decode")}


def ops(full):
    return CRF["crf_loss"] + CRF["crf_decode"] + ["embedding_adam"] + lstm(full)


# torch_grid.py's textcnn_step may break CUDA for those after it.
MODELS = ["ner_step", "textcnn_step"]

CHOICES = {"async_us": "async", "warp4_us": "tile8/warp4", "warp8_us": "tile8/warp8", "tile16_us": "tile16",
           "tile32_us": "tile32", "own_us": "own", "overlap_us": "overlap", "nographs_us": "nographs"}


def first(row):
    """{key of the result: the row as bib_grid is asked}; of models also without graphs, should a GPU refuse those."""
    graphs = {"nographs_us": row + "/nographs"} if row in MODELS else {}
    return {"us": row, "strict_us": row + "/strict", **graphs}


def choices(row):
    """The same with choices asked for; most are the LSTM's (kernels/lstm_fast.h, gemm.h)."""
    if row == "ner_step":
        return {"async_us": f"{row}/async", "overlap_us": f"{row}/overlap"}
    if not row.startswith("lstm"):
        return {"overlap_us": f"{row}/overlap"}
    h, b, t = (sizes(row)[letter] for letter in "hbt")
    wanted = {"async_us": True, "warp4_us": h in (160, 512), "warp8_us": b >= 32, "tile16_us": b >= 32,
              "tile32_us": b >= 32 and h <= 384}
    always = {"own_us": b * t <= 4096, "overlap_us": True}
    return {key: f"{row}/{words}" for key, words in CHOICES.items()
            if always.get(key) or h > 128 and wanted.get(key)}


# {op: speed against PyTorch that it must have}
BARS = {"lstm_forward": 1, "lstm_train": 1, "crf_loss": 100, "crf_decode": 100, "embedding_adam": 20, "textcnn_step": 3,
        "ner_step": 10}


def bar_is_against(row):
    """The variant of PyTorch that the bar is meant against; None: the fastest."""
    return {"embedding_adam": "dense, fused Adam", "crf_loss": "eager", "crf_decode": "eager", "textcnn_step": "eager",
            "ner_step": "eager"}.get(op_of(row))


def embedding_adam_bytes():
    """Of a run in fp32: the lookup reads and writes 4,096 rows, the update reads as many gradients, and reads and writes the
    weights and both moments of every row that occurs (as many as are expected of ids drawn at random)."""
    V, E, N = 120000, 512, 4096
    return 4 * E * (3 * N + 6 * V * (1 - (1 - 1 / V) ** N))
