// oneDNN's LSTM as the other side of bench/peers/run: one workload a line on standard input, its seconds on standard
// output. Bidirectional, fp32, inputs of 256, 256 units a direction, 64 steps; sequences have no lengths in oneDNN.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <map>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <random>
#include <string>
#include <vector>

using namespace dnnl;

namespace {

constexpr int T = 64, I = 256, H = 256, D = 2;

struct Lstm {
  engine eng{engine::kind::cpu, 0};
  stream s{eng};
  std::vector<memory> kept;
  std::unique_ptr<lstm_forward> forward;
  std::unique_ptr<lstm_backward> backward;
  std::unordered_map<int, memory> forward_args, backward_args;

  memory random(const memory::desc& wanted) {
    memory m(wanted, eng);
    std::mt19937 rng(1);
    std::uniform_real_distribution<float> uniform(-0.06f, 0.06f);
    auto* p = static_cast<float*>(m.get_data_handle());
    for (std::size_t i = 0; i < m.get_desc().get_size() / sizeof(float); ++i) p[i] = uniform(rng);
    return m;
  }

  Lstm(int B, bool train) {
    const auto any = [](memory::dims d) { return memory::desc(d, memory::data_type::f32, memory::format_tag::any); };
    const auto as = [](memory::dims d, memory::format_tag t) { return memory::desc(d, memory::data_type::f32, t); };
    const auto x = as({T, B, I}, memory::format_tag::tnc), h = as({T, B, D * H}, memory::format_tag::tnc);
    const auto none = memory::desc();
    const auto w_x = any({1, D, I, 4, H}), w_h = any({1, D, H, 4, H});
    const auto b = as({1, D, 4, H}, memory::format_tag::ldgo);
    const auto direction = rnn_direction::bidirectional_concat;
    const lstm_forward::desc desc(train ? prop_kind::forward_training : prop_kind::forward_inference, direction, x,
                                  none, none, w_x, w_h, b, h, none, none);
    const lstm_forward::primitive_desc pd(desc, eng);
    forward = std::make_unique<lstm_forward>(pd);
    forward_args = {{DNNL_ARG_SRC_LAYER, random(pd.src_layer_desc())},
                    {DNNL_ARG_WEIGHTS_LAYER, random(pd.weights_layer_desc())},
                    {DNNL_ARG_WEIGHTS_ITER, random(pd.weights_iter_desc())},
                    {DNNL_ARG_BIAS, random(pd.bias_desc())},
                    {DNNL_ARG_DST_LAYER, random(pd.dst_layer_desc())}};
    if (!train) return;
    forward_args.insert({DNNL_ARG_WORKSPACE, random(pd.workspace_desc())});
    const lstm_backward::desc back(prop_kind::backward, direction, x, none, none, w_x, w_h, b, h, none, none, x, none,
                                   none, w_x, w_h, b, h, none, none);
    const lstm_backward::primitive_desc bpd(back, eng, pd);
    backward = std::make_unique<lstm_backward>(bpd);
    backward_args = forward_args;
    // The backward pass wants the weights in a layout of its own: reordered once a run, as a trainer must.
    backward_args[DNNL_ARG_WEIGHTS_LAYER] = random(bpd.weights_layer_desc());
    backward_args[DNNL_ARG_WEIGHTS_ITER] = random(bpd.weights_iter_desc());
    backward_args.insert({DNNL_ARG_DIFF_SRC_LAYER, random(bpd.diff_src_layer_desc())});
    backward_args.insert({DNNL_ARG_DIFF_WEIGHTS_LAYER, random(bpd.diff_weights_layer_desc())});
    backward_args.insert({DNNL_ARG_DIFF_WEIGHTS_ITER, random(bpd.diff_weights_iter_desc())});
    backward_args.insert({DNNL_ARG_DIFF_BIAS, random(bpd.diff_bias_desc())});
    backward_args.insert({DNNL_ARG_DIFF_DST_LAYER, random(bpd.diff_dst_layer_desc())});
  }

  void run() {
    forward->execute(s, forward_args);
    if (backward) {
      for (int arg : {DNNL_ARG_WEIGHTS_LAYER, DNNL_ARG_WEIGHTS_ITER})
        reorder(forward_args.at(arg), backward_args.at(arg)).execute(s, forward_args.at(arg), backward_args.at(arg));
      backward->execute(s, backward_args);
    }
    s.wait();
  }
};

/// Median seconds of a run; at least three runs.
double timed(Lstm& lstm, double at_least) {
  std::vector<double> seconds;
  for (double sum = 0; sum < at_least || seconds.size() < 3; sum += seconds.back()) {
    const auto begin = std::chrono::steady_clock::now();
    lstm.run();
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + seconds.size() / 2, seconds.end());
  return seconds[seconds.size() / 2];
}

}  // namespace

int main() {
  std::map<std::string, std::unique_ptr<Lstm>> ready;
  std::string workload;
  for (double at_least; std::cin >> workload >> at_least;) {
    auto& lstm = ready[workload];
    const int batch = workload == "lstm_forward_1" ? 1 : workload == "lstm_forward_4" ? 4 : 32;
    try {
      if (!lstm) {
        lstm = std::make_unique<Lstm>(batch, workload == "lstm_train_32");
        lstm->run();
      }
      std::printf("%.9f\n", timed(*lstm, at_least));
    } catch (const dnnl::error& e) {
      std::printf("error %s\n", e.what());
    }
    std::fflush(stdout);
  }
}
