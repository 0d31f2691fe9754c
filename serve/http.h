// The HTTP port: /healthz, /readyz, /metrics and POST /v1/predict.
#pragma once
#include <memory>

#include "serve/app.h"

namespace bib::serve {

class Http {
 public:
  /// Binds the port; throws std::runtime_error when it is taken.
  explicit Http(App& app);
  ~Http();
  int port() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bib::serve
