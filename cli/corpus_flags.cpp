#include "cli/corpus_flags.h"

#include <algorithm>

#include "cli/common.h"

namespace bib::cli {
namespace {

std::string joined(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return list;
}

/// text_column is --text-column.
std::string flag_of(std::string option) {
  if (option == "offsets") return "--offsets-in";
  std::replace(option.begin(), option.end(), '_', '-');
  return "--" + option;
}

}  // namespace

void warn_of_idle_layout(const ReadOptions& read, std::vector<std::string> formats) {
  std::sort(formats.begin(), formats.end());
  formats.erase(std::unique(formats.begin(), formats.end()), formats.end());
  std::vector<std::string> flags = idle_options(read, formats);
  if (flags.empty() || formats.empty()) return;
  std::transform(flags.begin(), flags.end(), flags.begin(), flag_of);
  warn(joined(flags) + (flags.size() == 1 ? " does" : " do") + " nothing for what is read as " + joined(formats));
}

}  // namespace bib::cli
