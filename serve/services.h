// The gRPC services.
#pragma once
#include <grpcpp/impl/service_type.h>

#include <memory>

#include "serve/app.h"

namespace bib::serve {
std::unique_ptr<grpc::Service> make_predict_service(App& app);
std::unique_ptr<grpc::Service> make_inference_service(App& app);  // Open Inference Protocol
std::unique_ptr<grpc::Service> make_model_service(App& app);
std::unique_ptr<grpc::Service> make_train_service(App& app);
std::unique_ptr<grpc::Service> make_job_service(App& app);
}  // namespace bib::serve
