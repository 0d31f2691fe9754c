#include "serve/status.h"

#include <cerrno>
#include <cmath>
#include <new>

#include "bib/error.h"
#include "google/rpc/details.pb.h"
#include "models/model_file.h"

namespace bib::serve {

void invalid(const std::string& field, const std::string& why) {
  throw Refusal(grpc::StatusCode::INVALID_ARGUMENT, field + ": " + why, field);
}

grpc::Status status_of(const Refusal& refusal, grpc::ServerContextBase* context) {
  google::rpc::Status details;
  details.set_code(refusal.code);
  details.set_message(refusal.what());
  if (!refusal.field.empty()) {
    google::rpc::BadRequest bad;
    auto* violation = bad.add_field_violations();
    violation->set_field(refusal.field);
    violation->set_description(refusal.what());
    details.add_details()->PackFrom(bad);
  }
  if (refusal.retry_after > 0) {
    const auto ms = static_cast<std::int64_t>(std::ceil(refusal.retry_after * 1000));
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(ms / 1000);
    retry.mutable_retry_delay()->set_nanos(static_cast<int>(ms % 1000) * 1'000'000);
    details.add_details()->PackFrom(retry);
    if (context) context->AddTrailingMetadata("grpc-retry-pushback-ms", std::to_string(ms));
  }
  return {refusal.code, refusal.what(), details.details_size() ? details.SerializeAsString() : ""};
}

grpc::Status status_of_current_exception(grpc::ServerContextBase* context) {
  try {
    throw;
  } catch (const Refusal& e) {
    return status_of(e, context);
  } catch (const DataError& e) {
    return {grpc::StatusCode::INVALID_ARGUMENT, e.what()};
  } catch (const ModelError& e) {
    return {grpc::StatusCode::DATA_LOSS, e.what()};
  } catch (const OutOfDeviceMemory& e) {
    return {grpc::StatusCode::RESOURCE_EXHAUSTED, e.what()};
  } catch (const DeviceError& e) {
    return {grpc::StatusCode::FAILED_PRECONDITION, e.what()};
  } catch (const WriteError& e) {
    const bool full = e.error == ENOSPC || e.error == EDQUOT;
    return {full ? grpc::StatusCode::RESOURCE_EXHAUSTED : grpc::StatusCode::FAILED_PRECONDITION, e.what()};
  } catch (const std::bad_alloc&) {
    return {grpc::StatusCode::RESOURCE_EXHAUSTED, "out of memory; send less at a time"};
  } catch (const std::exception& e) {
    return {grpc::StatusCode::INTERNAL, e.what()};
  } catch (...) {
    return {grpc::StatusCode::INTERNAL, "an exception of unknown type"};
  }
}

}  // namespace bib::serve
