// bib convert: a corpus in another format; what changes or has no place there is listed on standard error.
#include <iostream>
#include <sstream>

#include "cli/common.h"
#include "cli/corpus_flags.h"
#include "cli/output.h"

namespace bib::cli {
namespace {

struct ConvertFlags {
  std::string input = "-", output = "-";
  ReadOptions read;
  WriteOptions write;
  std::size_t limit = 20;
};

/// The first of each severity: a conversion may change every text of a corpus in the same way.
void print_findings(const std::string& path, const std::vector<Diagnostic>& findings, std::size_t limit) {
  constexpr const char* names[] = {"note", "warning", "error"};
  std::size_t count[3] = {0, 0, 0};
  for (const Diagnostic& d : findings)
    if (count[static_cast<int>(d.severity)]++ < limit || limit == 0) std::cerr << to_text(d) << '\n';
  for (int i = 0; i < 3; ++i)
    if (limit > 0 && count[i] > limit)
      std::cerr << path << ": " << count[i] - limit << " more " << names[i] << "s (--limit 0 shows all)\n";
}

void list_formats() {
  for (const CorpusFormat& f : corpus_formats())
    std::printf("%-12s %-6s %s%s\n", std::string(f.name).c_str(),
                f.ner && f.tc ? "both"
                : f.ner       ? "ner"
                              : "tc",
                std::string(f.what).c_str(), f.writes ? "" : " (read only)");
}

int convert(const ConvertFlags& flags) {
  refuse_overwriting(flags.output, {flags.input});
  const Corpus corpus = read_corpus(flags.input, flags.read);
  ReadOptions given = flags.read;
  if (flags.write.format == "fasttext") given.label_prefix = ReadOptions{}.label_prefix;  // it is written, too
  warn_of_idle_layout(given, {corpus.format});
  print_findings(corpus.path, corpus.diagnostics, flags.limit);
  std::ostringstream converted;  // whole, before a file that may be there is replaced by it
  print_findings(corpus.path, write_corpus(converted, corpus.documents, flags.write, corpus.path), flags.limit);
  Output(flags.output).write(converted.view());
  const std::size_t n = corpus.documents.size();
  note(std::to_string(n) + (n == 1 ? " document, " : " documents, ") + corpus.format + " to " + flags.write.format);
  return exit_code::ok;
}

}  // namespace

void add_convert(CLI::App& app, Action& action) {
  static const std::map<std::string, Align> alignments{
      {"strict", Align::strict}, {"expand", Align::expand}, {"contract", Align::contract}};
  static const std::map<std::string, TokenUnit> units{
      {"given", TokenUnit::given}, {"word", TokenUnit::word}, {"character", TokenUnit::character}};
  CLI::App* verb = app.add_subcommand("convert", "Write a corpus in another format");
  auto flags = std::make_shared<ConvertFlags>();
  verb->add_option("file", flags->input, "Corpus; - is standard input")->capture_default_str();
  verb->add_option("--to", flags->write.format, "Format to write; --formats lists them")->required();
  verb->add_option("-o,--output", flags->output, "File to write; - is standard output")->capture_default_str();
  add_read_flags(*verb, flags->read);
  add_choice(*verb, "--scheme", flags->write.scheme, tag_schemes, "Tags of column formats (iob2)");
  add_choice(*verb, "--nested", flags->write.nested, nestings, "Which of nested annotations to write (outermost)");
  add_choice(*verb, "--align", flags->write.align, alignments, "Annotation that ends inside a token (strict)");
  add_choice(*verb, "--unit", flags->write.unit, units, "Tokens of column formats (given)");
  add_choice(*verb, "--offsets", flags->write.offsets, offset_units, "What span offsets count (codepoint)");
  verb->add_option("--limit", flags->limit, "Findings of each severity to list; 0 lists all")->capture_default_str();
  verb->add_flag_callback(
      "--formats",
      [] {
        list_formats();
        throw CLI::Success();
      },
      "List the formats and stop");
  verb->footer("Example: bib convert ner.txt --to conll --unit character -o ner.conll");
  verb->callback([&action, flags] {
    action = [flags] {
      flags->write.label_prefix = flags->read.label_prefix;
      return convert(*flags);
    };
  });
}

}  // namespace bib::cli
