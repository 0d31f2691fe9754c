// What HTTP requests are refused before anybody looks at their bodies, and how.
#pragma once
#include <httplib.h>

#include <string>

namespace bib::serve {

/// The id of the request, which the answer gives back; chosen when it is first asked for.
std::string request_id(const httplib::Request& request, httplib::Response& r);

/// {"error": {"code": ..., "message": ..., "request_id": ...}}
void set_error(httplib::Response& r, int status, const std::string& message);
/// The same, and the connection ends with it: what is left of the request must not be taken for the next one.
void set_last_error(const httplib::Request& request, httplib::Response& r, int status, const std::string& message);

/// True where the request gets no further, and `r` says why. Only POST /v1/predict (with `predicts`) has a body: the
/// library would read any other whole into memory, or leave it lying in the connection.
bool refuse_early(const httplib::Request& request, httplib::Response& r, bool predicts);

/// A body for answers of the library itself, which have none. It gave up where it was, so the connection ends, too.
void explain(const httplib::Request& request, httplib::Response& r);

}  // namespace bib::serve
