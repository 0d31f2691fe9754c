"""ONNX Runtime as the other side of bench/peers/run: one sentence through networks of bib's default sizes.

Encoding the text, the CRF and the scores are left out here; bib's side does them within its time."""
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from worker import serve

data = sys.argv[1]
rng = np.random.default_rng(1)
threads = 1


class Graph:
    def __init__(self):
        self.nodes, self.weights, self.inputs = [], [], []

    def weight(self, *shape):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(rng.uniform(-.06, .06, shape).astype(np.float32), name))
        return name

    def ints(self, values):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def add(self, op, inputs, outputs=1, **attributes):
        names = [f"n{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, **attributes))
        return names[0]

    def features(self, sizes):
        """[T] ids each -> [T, 1, E]"""
        parts = []
        for i, (v, e) in enumerate(sizes):
            self.inputs.append(helper.make_tensor_value_info(f"x{i}", TensorProto.INT64, ["T", 1]))
            parts.append(self.add("Gather", [self.weight(v, e), f"x{i}"]))
        return self.add("Concat", parts, axis=2)

    def session(self, output):
        graph = helper.make_graph(self.nodes, "peer", self.inputs,
                                  [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def one_by_one(session, path, sizes):
    texts = [max(4, len("".join(line.split()))) for line in open(path, encoding="utf-8")]
    inputs = [{f"x{i}": rng.integers(0, v, (n, 1)) for i, (v, _) in enumerate(sizes)} for n in texts]
    at = [0]

    def run():
        session.run(None, inputs[at[0]])
        at[0] = (at[0] + 1) % len(inputs)
    return run


def ner():
    sizes, H, tags = [(2000, 64), (30000, 64), (20, 16), (22, 16), (29, 16), (32, 8)], 160, 31
    g = Graph()
    x = g.features(sizes)
    I = sum(e for _, e in sizes)
    h = g.add("LSTM", [x, g.weight(2, 4 * H, I), g.weight(2, 4 * H, H), g.weight(2, 8 * H)], 3, hidden_size=H,
              direction="bidirectional")  # [T, 2, 1, H]
    flat = g.add("Reshape", [g.add("Transpose", [h], perm=[0, 2, 1, 3]), g.ints([-1, 2 * H])])
    return one_by_one(g.session(g.add("Gemm", [flat, g.weight(2 * H, tags), g.weight(tags)])),
                      f"{data}/bib/ner_predict.txt", sizes)


def tc():
    sizes, F, classes = [(2000, 48), (30000, 64), (20, 8), (22, 8), (29, 8), (32, 8)], 112, 13
    g = Graph()
    x = g.add("Transpose", [g.features(sizes)], perm=[1, 2, 0])
    E = sum(e for _, e in sizes)
    pooled = []
    for k in (1, 2, 3, 4):
        y = g.add("Relu", [g.add("Conv", [x, g.weight(F, E, k), g.weight(F)], kernel_shape=[k])])
        pooled.append(g.add("ReduceMax", [y, g.ints([2])], keepdims=0))
    y = g.add("Gemm", [g.add("Concat", pooled, axis=1), g.weight(4 * F, classes), g.weight(classes)])
    return one_by_one(g.session(g.add("Softmax", [y])), f"{data}/bib/tc_predict.txt", sizes)


def set_threads(n):
    global threads
    threads = n


serve({"ner_one": ner, "tc_one": tc}, set_threads)
