"""What bench/peers/run measures: for each row bib's workload, the peers' same work, and what bib must reach."""
import dataclasses


@dataclasses.dataclass
class Row:
    key: str
    title: str
    bib: str  # workload of bib_peer
    peers: dict  # name shown: (worker, workload)
    bar: float  # the best peer's time over bib's
    aim: float
    against: tuple = ()  # the peers that the bar is about; all others are for information
    threads: int = 0  # 0: as --threads says
    flops: float = 0  # of a run: adds the share of this machine's peak
    limit: float = 0  # seconds that bib's time may take, where the bar is no ratio


LSTM_FLOPS = 2 * 64 * 2 * 1024 * 512  # per sequence of 64 steps, both directions, inputs and units of 256


def lstm_peers(name, *workers):
    every = {"oneDNN": "dnnl", "PyTorch": "torch", "TensorFlow": "tf"}
    return {shown: (worker, name) for shown, worker in every.items() if worker in workers}


ROWS = [
    Row("lstm_forward_32", "BiLSTM forward, B=32 T=64 I=256 H=256", "lstm_forward_32",
        lstm_peers("lstm_forward_32", "dnnl", "torch", "tf"), 1.0, 1.05, ("oneDNN",), flops=32 * LSTM_FLOPS),
    Row("lstm_forward_1", "BiLSTM forward, B=1", "lstm_forward_1",
        lstm_peers("lstm_forward_1", "dnnl", "torch", "tf"), 1.3, 2, ("oneDNN",), flops=LSTM_FLOPS),
    Row("lstm_forward_4", "BiLSTM forward, B=4, lengths 64 47 31 12 (oneDNN: padded)", "lstm_forward_4",
        lstm_peers("lstm_forward_4", "dnnl", "torch"), 1.3, 2, ("oneDNN",), flops=154 / 64 * LSTM_FLOPS),
    Row("lstm_train_32", "BiLSTM forward and backward, B=32", "lstm_train_32",
        lstm_peers("lstm_train_32", "dnnl", "torch", "tf"), 1.0, 1.3, ("PyTorch",), flops=96 * LSTM_FLOPS),
    Row("crf_loss", "CRF loss and gradient, K=31 T=64 B=32", "crf_loss", {"pytorch-crf": ("torch", "crf_loss")}, 50, 200),
    Row("crf_decode", "Viterbi, K=31 T=64 B=32", "crf_decode", {"pytorch-crf": ("torch", "crf_decode")}, 50, 200),
    Row("crfsuite", "Viterbi per token on one thread, K=31", "crf_decode", {"CRFsuite": ("crfsuite", "crf_decode")}, 2, 4,
        threads=1),
    Row("tc_step", "TextCNN training step, headline TC", "tc_step",
        {"PyTorch": ("torch", "tc_step"), "PyTorch compiled": ("torch_compiled", "tc_step_compiled")}, 3, 6),
    Row("ner_epoch", "headline NER: training, per character", "ner_epoch", {"PyTorch": ("torch", "ner_epoch")}, 4, 8),
    Row("ner_predict", "headline NER: predict 1,000", "ner_predict", {"PyTorch": ("torch", "ner_predict")}, 5, 15),
    Row("ner_one", "one sentence, NER, p50 on one thread", "ner_one", {"ONNX Runtime": ("onnx", "ner_one")}, 0, 3,
        threads=1, limit=0.5e-3),
    Row("tc_one", "one sentence, TC, p50 on one thread", "tc_one", {"ONNX Runtime": ("onnx", "tc_one")}, 0, 3,
        threads=1, limit=0.1e-3),
]
