// A model's parameters, owned in flat buffers: the dense ones in one buffer of values and one of gradients, so that the
// optimiser, the norm, zeroing and saving are each one call; embedding tables behind them, without dense gradients.
// Order of life: add() everything, then allocate() to train or open() to predict; handles may be kept from the start.
#pragma once
#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bib/context.h"
#include "bib/view.h"

namespace bib {

struct ModelFile;

/// Initial values. Random ones depend on seed, name and index alone: adding a layer does not change the others.
struct Init {
  enum class Kind : std::uint8_t { constant, uniform, lstm_bias };
  Kind kind = Kind::constant;
  float a = 0;  // the constant, or the bound

  static Init zeros() { return {}; }
  static Init constant(float value) { return {Kind::constant, value}; }
  /// Uniform in [-a, a).
  static Init uniform(float a) { return {Kind::uniform, a}; }
  /// Glorot & Bengio, AISTATS 2010: uniform with variance 2 / (fan_in + fan_out).
  static Init xavier(int fan_in, int fan_out);
  /// Second quarter of the last axis (the forget gate of i f g o) 1, the rest 0: a fresh cell remembers.
  static Init lstm_bias() { return {Kind::lstm_bias, 1}; }
};

/// One parameter as Parameters knows it. `value` and `grad` are null until there is memory, `grad` also for tables and
/// in models opened to predict.
struct ParamInfo {
  std::string name;
  int rank = 0;
  std::array<int, 4> shape{};  // the first `rank` count
  Init init;
  bool is_table = false;
  int table_index = -1;         // position in tables()
  std::int64_t size = 0;        // elements
  std::int64_t offset = 0;      // of the first element from values().data
  const real* value = nullptr;  // may lie in a mapped file
  real* grad = nullptr;
  Device device = Device::cpu;

  template <class T, int R>
  View<T, R> view(T* data) const {
    View<T, R> v{.data = data, .device = device};
    for (int i = 0; i < R; ++i) v.shape[i] = shape[i];
    return v;
  }
};

/// Handle of a dense parameter of rank R.
template <int R>
struct Param {
  const ParamInfo* info = nullptr;
  View<const real, R> value() const { return info->view<const real, R>(info->value); }
  /// Backward adds to it. Empty in a model opened to predict.
  View<real, R> grad() const { return info->view<real, R>(info->grad); }
};

/// Handle of an embedding table [V,E]. Its gradients are row-sparse: ops/embedding.h.
struct Table {
  const ParamInfo* info = nullptr;
  View<const real, 2> value() const { return info->view<const real, 2>(info->value); }
  int index() const { return info->table_index; }
};

struct FreeOnDevice {
  Device device = Device::cpu;
  void operator()(real* p) const noexcept { free_bytes(device, p); }
};

class Parameters {
 public:
  Parameters() = default;
  Parameters(Parameters&&) = default;  // handles stay valid
  Parameters& operator=(Parameters&&) = default;

  template <int R>
  Param<R> add(std::string name, std::array<int, R> shape, Init init = Init::zeros()) {
    static_assert(R <= 4);
    return {add_entry(std::move(name), shape, init, false)};
  }
  Table add_table(std::string name, int V, int E, Init init = Init::zeros());

  /// To train: memory on the context's device, values initialised from the seed, gradients zero.
  void allocate(Context& ctx, std::uint64_t seed);
  /// To predict: values of the file, without gradients. On the CPU they are used where they are mapped.
  void open(Context& ctx, std::shared_ptr<const ModelFile> file);

  /// After allocate(): takes the values of the file, so that training goes on from there.
  void load(Context& ctx, const ModelFile& file);
  /// After allocate(): takes the values of the same names over. Where an axis is longer here they fill its beginning,
  /// and what is behind them stays as it is.
  void take_over(Context& ctx, const Parameters& smaller);
  /// Adds every parameter to the file under its name. Values on the CPU are borrowed: write before they change.
  void save(Context& ctx, ModelFile& file) const;

  /// Dense parameters, flat; each begins at a multiple of 64 bytes, with zeros between. Only after allocate().
  View<real, 1> values() { return {.data = buffer_.get(), .shape = {static_cast<int>(dense_)}, .device = device_}; }
  View<real, 1> grads() { return {.data = grads_.get(), .shape = {static_cast<int>(dense_)}, .device = device_}; }
  /// Dense parameters and tables: what to copy for a snapshot.
  View<real, 1> everything() { return {.data = buffer_.get(), .shape = {static_cast<int>(total_)}, .device = device_}; }
  /// A table to be updated, by Table::index(). Only after allocate().
  View<real, 2> table(int index);
  int tables() const { return static_cast<int>(tables_.size()); }

  /// All, dense ones and tables, in the order they were added.
  const std::deque<ParamInfo>& infos() const { return infos_; }
  const ParamInfo* find(std::string_view name) const;
  /// Overwrites one parameter, or rows of a table: `host` goes to element `first` and on. Only after allocate().
  void set(Context& ctx, std::string_view name, std::span<const real> host, std::int64_t first = 0);
  std::vector<real> get(Context& ctx, std::string_view name) const;
  /// Multiplies one parameter. Only after allocate().
  void scale(Context& ctx, std::string_view name, real factor);

  Device device() const { return device_; }
  /// Number of trainable values.
  std::int64_t count() const;

 private:
  using Buffer = std::unique_ptr<real, FreeOnDevice>;

  const ParamInfo* add_entry(std::string name, std::span<const int> shape, Init init, bool is_table);
  void place();
  static Buffer make_buffer(const Context& ctx, std::int64_t size);

  std::deque<ParamInfo> infos_;  // addresses never change: handles point here
  std::vector<ParamInfo*> tables_;
  Device device_ = Device::cpu;
  Buffer buffer_, grads_;
  std::int64_t dense_ = 0, total_ = 0;
  std::shared_ptr<const ModelFile> file_;  // when values are mapped
};

/// The values that allocate() gives a parameter; exposed for tests and for tables that grow.
std::vector<real> initial_values(const ParamInfo& info, std::uint64_t seed);

}  // namespace bib
