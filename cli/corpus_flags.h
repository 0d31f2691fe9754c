// Flags that say how a corpus is read and how offsets count.
#pragma once
#include <CLI/CLI.hpp>
#include <map>
#include <string>
#include <vector>

#include "train/corpus.h"

namespace bib::cli {

inline const std::map<std::string, OffsetUnit> offset_units{
    {"codepoint", OffsetUnit::codepoint}, {"utf16", OffsetUnit::utf16}, {"byte", OffsetUnit::byte}};
inline const std::map<std::string, Scheme> tag_schemes{
    {"iob1", Scheme::iob1}, {"iob2", Scheme::iob2}, {"bioes", Scheme::bioes}, {"bilou", Scheme::bilou}};
inline const std::map<std::string, Nested> nestings{
    {"all", Nested::all}, {"outermost", Nested::outermost}, {"innermost", Nested::innermost}};

/// An option whose values have names; the help lists them.
template <class Target, class Value>
CLI::Option* add_choice(CLI::App& verb, const std::string& flag, Target& target,
                        const std::map<std::string, Value>& names, const std::string& help) {
  std::string choices;
  for (const auto& [name, value] : names) choices += (choices.empty() ? "" : ", ") + name;
  return verb
      .add_option_function<std::string>(
          flag, [&target, &names](const std::string& name) { target = names.at(name); }, help + ": " + choices)
      ->check([&names, choices](const std::string& name) {
        return names.count(name) ? std::string() : name + " is not one of " + choices;
      });
}

/// What a format leaves open: encoding, columns, quotes, offsets.
inline void add_layout_flags(CLI::App& verb, ReadOptions& read) {
  static const std::map<std::string, Quoting> quotings{
      {"auto", Quoting::automatic}, {"none", Quoting::none}, {"csv", Quoting::csv}};
  verb.add_option("--encoding", read.encoding, "Encoding of the input: utf-8, latin1, cp949, ...")
      ->capture_default_str();
  add_choice(verb, "--offsets-in", read.offsets, offset_units, "JSON and BRAT: what span offsets count");
  verb.add_option("--text-column", read.text_column, "Tables and JSON: the text's column, by header or number");
  verb.add_option("--label-column", read.label_column,
                  "Tables and JSON: the class's column; a,b,c for one 0/1 column a class");
  verb.add_option("--id-column", read.id_column, "Tables and JSON: the column that names a document");
  verb.add_option("--delimiter", read.delimiter, "Tables: the character between columns");
  add_choice(verb, "--quoting", read.quoting, quotings, "Tables: what double quotes mean");
  verb.add_option("--token-column", read.token_column, "Column formats: the token's column; 1 is the first");
  verb.add_option("--tag-column", read.tag_column, "Column formats: the tag's column; -1 is the last");
  verb.add_option("--label-prefix", read.label_prefix, "fastText: what marks a label")->capture_default_str();
}

/// Warns of flags of add_layout_flags that none of the formats which were read has a use for.
void warn_of_idle_layout(const ReadOptions& read, std::vector<std::string> formats);

/// True where a flag of add_layout_flags was given.
inline bool has_layout_flags(const CLI::App& verb) {
  for (const char* flag : {"--encoding", "--offsets-in", "--text-column", "--label-column", "--id-column",
                           "--delimiter", "--quoting", "--token-column", "--tag-column", "--label-prefix"})
    if (verb.count(flag) > 0) return true;
  return false;
}

inline void add_read_flags(CLI::App& verb, ReadOptions& read) {
  verb.add_option("--from", read.format, "Format of the input; auto finds it out")->capture_default_str();
  add_layout_flags(verb, read);
}

}  // namespace bib::cli
