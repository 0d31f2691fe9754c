// Names for jobs and contents.
#pragma once
#include <cstddef>
#include <string>

namespace bib::serve {

std::string hex(const unsigned char* bytes, std::size_t count);
std::string new_id();                             // the time and 32 random bits
std::string digest_of(const std::string& bytes);  // SHA-256

}  // namespace bib::serve
