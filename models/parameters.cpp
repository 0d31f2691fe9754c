// Placement, initialisation, and the way to and from the model file.
#include "models/parameters.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "bib/random.h"
#include "models/model_file.h"

namespace bib {

namespace {

constexpr std::int64_t alignment = 64 / sizeof(real);  // elements in a cache line

/// FNV-1a: which stream of random numbers a name draws from.
std::uint32_t stream_of(std::string_view name) {
  std::uint32_t hash = 2166136261u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

std::string shape_of(const ParamInfo& info) { return shape_text(info.shape.data(), info.rank); }

/// The tensor of a parameter, with type and shape checked.
const float* tensor_values(const ModelFile& file, const ParamInfo& info) {
  const auto found = file.tensors.find(info.name);
  if (found == file.tensors.end()) {
    file.fail("has no tensor '" + info.name + "'; its configuration and its tensors do not belong together");
  }
  const Tensor& t = found->second;
  const std::vector<int> expected(info.shape.begin(), info.shape.begin() + info.rank);
  if (t.type != ElementType::f32 || t.shape != expected) {
    file.fail("tensor '" + info.name + "' is " + std::string(element_type_name(t.type)) +
              shape_text(t.shape.data(), static_cast<int>(t.shape.size())) + ", the configuration asks for F32" +
              shape_of(info));
  }
  return static_cast<const float*>(t.data);
}

}  // namespace

Init Init::xavier(int fan_in, int fan_out) {
  expect(fan_in + fan_out > 0, "xavier: fan_in + fan_out must be positive");
  return uniform(std::sqrt(6.0f / static_cast<float>(fan_in + fan_out)));
}

std::vector<real> initial_values(const ParamInfo& info, std::uint64_t seed) {
  std::vector<real> values(static_cast<std::size_t>(info.size));
  switch (info.init.kind) {
    case Init::Kind::constant: std::fill(values.begin(), values.end(), static_cast<real>(info.init.a)); break;
    case Init::Kind::uniform: {
      // Step 0: optimiser steps count from 1, so no dropout mask shares these numbers.
      const RandomKey key{.seed = seed, .step = 0, .stream = stream_of(info.name)};
      for (std::size_t i = 0; i < values.size(); i += 4) {
        const auto words = philox(key, i / 4);
        for (std::size_t j = i; j < std::min(i + 4, values.size()); ++j) {
          values[j] = info.init.a * (static_cast<float>(words[j - i] >> 8) * 0x1p-23f - 1.0f);
        }
      }
      break;
    }
    case Init::Kind::lstm_bias: {
      const int width = info.shape[info.rank - 1];
      for (std::size_t i = 0; i < values.size(); ++i) {
        const int column = static_cast<int>(i % static_cast<std::size_t>(width));
        values[i] = column >= width / 4 && column < width / 2 ? static_cast<real>(info.init.a) : 0;
      }
      break;
    }
  }
  return values;
}

const ParamInfo* Parameters::add_entry(std::string name, std::span<const int> shape, Init init, bool is_table) {
  expect(!buffer_ && !file_, "parameters: '" + name + "' added after allocate() or open()");
  expect(!find(name), "parameters: '" + name + "' is there already");
  ParamInfo info{.name = std::move(name), .rank = static_cast<int>(shape.size()), .init = init, .is_table = is_table};
  info.size = 1;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    expect(shape[i] > 0, "parameters: '" + info.name + "' has an empty axis");
    info.shape[i] = shape[i];
    info.size *= shape[i];
  }
  if (is_table) info.table_index = tables();
  infos_.push_back(std::move(info));
  if (is_table) tables_.push_back(&infos_.back());
  return &infos_.back();
}

Table Parameters::add_table(std::string name, int V, int E, Init init) {
  return {add_entry(std::move(name), std::array{V, E}, init, true)};
}

/// Dense parameters first, then the tables, each at a cache line.
void Parameters::place() {
  total_ = 0;
  for (const bool tables : {false, true}) {
    for (ParamInfo& info : infos_) {
      if (info.is_table != tables) continue;
      info.offset = total_;
      total_ += (info.size + alignment - 1) / alignment * alignment;
    }
    if (!tables) dense_ = total_;
  }
  expect(total_ <= std::numeric_limits<int>::max(), "parameters: more than 2^31 values");
}

Parameters::Buffer Parameters::make_buffer(const Context& ctx, std::int64_t size) {
  const std::size_t bytes = std::max<std::size_t>(1, static_cast<std::size_t>(size)) * sizeof(real);
  return Buffer(static_cast<real*>(allocate_bytes(ctx, bytes)), FreeOnDevice{ctx.device()});
}

void Parameters::allocate(Context& ctx, std::uint64_t seed) {
  expect(!buffer_ && !file_, "parameters: allocated twice");
  device_ = ctx.device();
  place();
  buffer_ = make_buffer(ctx, total_);
  grads_ = make_buffer(ctx, dense_);
  zero(ctx, everything());
  zero(ctx, grads());
  for (ParamInfo& info : infos_) {
    info.device = device_;
    info.value = buffer_.get() + info.offset;
    info.grad = info.is_table ? nullptr : grads_.get() + info.offset;
    set(ctx, info.name, initial_values(info, seed));
  }
}

void Parameters::open(Context& ctx, std::shared_ptr<const ModelFile> file) {
  expect(!buffer_ && !file_, "parameters: opened twice");
  device_ = ctx.device();
  place();
  if (device_ == Device::cpu && std::is_same_v<real, float>) {
    // reinterpret_cast for the double build alone, which never comes here.
    for (ParamInfo& info : infos_) info.value = reinterpret_cast<const real*>(tensor_values(*file, info));
    file_ = std::move(file);
    return;
  }
  buffer_ = make_buffer(ctx, total_);
  zero(ctx, everything());
  for (ParamInfo& info : infos_) {
    info.device = device_;
    info.value = buffer_.get() + info.offset;
  }
  load(ctx, *file);
  ctx.wait();  // contexts of other threads may use it
}

void Parameters::load(Context& ctx, const ModelFile& file) {
  for (const ParamInfo& info : infos_) tensor_values(file, info);  // all or nothing
  for (const ParamInfo& info : infos_) {
    const float* values = tensor_values(file, info);
    set(ctx, info.name, std::vector<real>(values, values + info.size));
  }
}

void Parameters::take_over(Context& ctx, const Parameters& smaller) {
  for (const ParamInfo& from : smaller.infos_) {
    const ParamInfo* to = find(from.name);
    expect(to && to->rank == from.rank, "parameters: no '" + from.name + "' of this rank to take values over to");
    for (int i = 0; i < from.rank; ++i)
      expect(from.shape[i] <= to->shape[i],
             "parameters: '" + from.name + "' is " + shape_of(*to) + ", too small for " + shape_of(from));
    const std::vector<real> values = smaller.get(ctx, from.name);
    std::vector<real> grown = get(ctx, from.name);
    const std::int64_t width = from.shape[from.rank - 1];
    for (std::int64_t row = 0; row < from.size / width; ++row) {  // along the last axis
      std::int64_t at = 0, rest = row, stride = to->shape[from.rank - 1];
      for (int i = from.rank - 2; i >= 0; --i) {
        at += rest % from.shape[i] * stride;
        rest /= from.shape[i];
        stride *= to->shape[i];
      }
      std::copy_n(values.begin() + row * width, width, grown.begin() + at);
    }
    set(ctx, from.name, grown);
  }
}

void Parameters::save(Context& ctx, ModelFile& file) const {
  for (const ParamInfo& info : infos_) {
    expect(info.value, "parameters: nothing to save before allocate() or open()");
    const std::vector<int> shape(info.shape.begin(), info.shape.begin() + info.rank);
    if (device_ == Device::cpu && std::is_same_v<real, float>) {
      file.add_borrowed(info.name, {ElementType::f32, shape, info.value});
    } else {
      const std::vector<real> host = get(ctx, info.name);
      file.add(info.name, std::vector<float>(host.begin(), host.end()), shape);
    }
  }
}

View<real, 2> Parameters::table(int index) {
  expect(grads_ && index >= 0 && index < tables(), "parameters: no table to update at this index");
  const ParamInfo& info = *tables_[static_cast<std::size_t>(index)];
  return info.view<real, 2>(buffer_.get() + info.offset);
}

const ParamInfo* Parameters::find(std::string_view name) const {
  const auto found = std::find_if(infos_.begin(), infos_.end(), [&](const ParamInfo& p) { return p.name == name; });
  return found == infos_.end() ? nullptr : &*found;
}

void Parameters::set(Context& ctx, std::string_view name, std::span<const real> host, std::int64_t first) {
  const ParamInfo* info = find(name);
  expect(info, "parameters: no '" + std::string(name) + "'");
  expect(buffer_ != nullptr, "parameters: '" + std::string(name) + "' cannot be set before allocate()");
  const auto n = static_cast<std::int64_t>(host.size());
  expect(first >= 0 && n <= info->size && first <= info->size - n,
         "parameters: '" + std::string(name) + "' has " + std::to_string(info->size) + " values, elements " +
             std::to_string(first) + " to " + std::to_string(first + n) + " do not fit");
  copy_bytes(ctx, buffer_.get() + info->offset + first, device_, host.data(), Device::cpu, host.size_bytes());
}

std::vector<real> Parameters::get(Context& ctx, std::string_view name) const {
  const ParamInfo* info = find(name);
  expect(info && info->value, "parameters: no '" + std::string(name) + "', or no memory yet");
  return download(ctx,
                  View<const real, 1>{.data = info->value, .shape = {static_cast<int>(info->size)}, .device = device_});
}

void Parameters::scale(Context& ctx, std::string_view name, real factor) {
  std::vector<real> values = get(ctx, name);
  for (real& x : values) x *= factor;
  set(ctx, name, values);
}

std::int64_t Parameters::count() const {
  std::int64_t n = 0;
  for (const ParamInfo& info : infos_) n += info.size;
  return n;
}

}  // namespace bib
