"""TensorFlow/Keras as the other side of bench/peers/run: its LSTM, compiled by tf.function."""
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf  # noqa: E402
from worker import serve  # noqa: E402


def lstm(batch, train):
    net = tf.keras.layers.Bidirectional(tf.keras.layers.LSTM(256, return_sequences=True))
    x = tf.random.uniform((batch, 64, 256))
    net(x)

    @tf.function
    def step():
        if not train:
            return net(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(net(x))
        return tape.gradient(y, [x, *net.trainable_variables])[0]
    return lambda: step().numpy()


def set_threads(n):
    if tf.config.threading.get_intra_op_parallelism_threads() != n:
        tf.config.threading.set_intra_op_parallelism_threads(n)
        tf.config.threading.set_inter_op_parallelism_threads(1)


serve({"lstm_forward_32": lambda: lstm(32, False), "lstm_forward_1": lambda: lstm(1, False),
       "lstm_train_32": lambda: lstm(32, True)}, set_threads)
