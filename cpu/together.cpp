#include "bib/together.h"

#include "bib/cuda_backend.h"

namespace bib {

Recording::Recording(Context& ctx)
    : ctx_(ctx), on_(ctx.device() == Device::cuda && !ctx.careful() && cuda_begin_recording(ctx.cuda())) {}

bool Recording::cancel() noexcept {
  if (!on_) return false;
  cuda_cancel_recording(ctx_.cuda());
  on_ = false;
  return true;
}

void Recording::finish() {
  if (std::exchange(on_, false)) cuda_finish_recording(ctx_.cuda());
}

template <class T>
Fetched<T>::Fetched(Context& ctx, View<const T, 1> v) : ctx_(ctx), values_(static_cast<std::size_t>(v.size())) {
  const std::size_t bytes = values_.size() * sizeof(T);
  if (ctx.asynchronous() && bytes > 0) {
    under_way_ = cuda_start_fetch(ctx.cuda(), v.data, bytes);
  } else {
    copy_bytes(ctx, values_.data(), Device::cpu, v.data, v.device, bytes);
  }
}

template <class T>
Fetched<T>::~Fetched() {
  if (under_way_) cuda_drop_fetch(ctx_.cuda(), under_way_);
}

template <class T>
const std::vector<T>& Fetched<T>::values() {
  if (under_way_) cuda_finish_fetch(ctx_.cuda(), std::exchange(under_way_, nullptr), values_.data());
  return values_;
}

template class Fetched<float>;
template class Fetched<double>;

}  // namespace bib
