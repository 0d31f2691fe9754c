// One line an event on standard error, with the time; never a text of a user.
#pragma once
#include <string>

namespace bib::serve {
void log(const std::string& line);
}
