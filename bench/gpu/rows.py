"""The rows of scripts/gpu-check's comparison: names that bib_grid and torch_grid.py both understand."""


def lstm(full):
    """lstm_forward/h256/b32/t64/padded: a bidirectional layer, inputs as wide as H up to 256. The first ones say most,
    as a run may end at any of them."""
    shapes = [(h, b, t) for h in (256, 128, 512) for b in (32, 4, 128, 512) for t in (64, 32, 128, 512)
              if b * t <= 65536] if full else \
        [(h, b, 64) for b in (32, 4, 128, 512) for h in (256, 128, 512)] + [(256, 32, t) for t in (32, 128, 512)] + \
        [(160, 32, 64)]  # the default model's
    return [f"{op}/h{h}/b{b}/t{t}/{kind}" for h, b, t in shapes for op in ("lstm_forward", "lstm_train")
            for kind in ("padded", "ragged")]


def ops(full):
    return [f"{op}/k31/b{b}/t128" for op in ("crf_loss", "crf_decode") for b in (32, 512)] + ["embedding_adam"] + lstm(full)


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
    h, b, t = (int(part[1:]) for part in row.split("/")[1:4])
    wanted = {"async_us": True, "warp4_us": h in (160, 512), "warp8_us": b >= 32, "tile16_us": b >= 32,
              "tile32_us": b >= 32 and h <= 384}
    always = {"own_us": b * t <= 4096, "overlap_us": True}
    return {key: f"{row}/{words}" for key, words in CHOICES.items()
            if always.get(key) or h > 128 and wanted.get(key)}


def bar(row):
    """(bar, aim) as speed against PyTorch's best; None where there is none."""
    if row.startswith("lstm"):
        return 1, 8
    return {"crf_loss": (100, 200), "crf_decode": (100, 200), "embedding_adam": (20, None), "textcnn_step": (3, 10),
            "ner_step": (10, 50)}.get(row.split("/")[0], (None, None))


def bar_is_against(row):
    """The variant of PyTorch that the bar is meant against where it is not the fastest."""
    return {"embedding_adam": "dense, fused Adam"}.get(row)
