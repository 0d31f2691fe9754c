// bib check: what is in corpora, and what is wrong with them, before anything is trained on them.
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/common.h"
#include "cli/corpus_flags.h"
#include "models/model_parts.h"
#include "train/survey.h"

namespace bib::cli {
namespace {

using Json = nlohmann::ordered_json;

struct CheckFlags {
  std::vector<std::string> files;
  std::string model;
  ReadOptions read;
  std::size_t limit = 20;
  bool json = false;
};

struct Checked {
  Corpus corpus;
  Survey survey;
  std::size_t counts[3] = {0, 0, 0};  // notes, warnings, errors
};

/// A file that cannot be read at all is one more finding: the others are still checked.
Checked look(const std::string& path, const CheckFlags& flags, Surveyor& surveyor) {
  Checked checked;
  try {
    checked.corpus = scan_corpus(path, flags.read);
    checked.survey = surveyor.look(checked.corpus);
  } catch (const DataError& e) {
    std::string what = e.what();
    if (what.starts_with(path + ": ")) what.erase(0, path.size() + 2);
    checked.corpus.path = path;
    checked.corpus.diagnostics.push_back({Severity::error, path, 0, 0, what});
  }
  auto& all = checked.corpus.diagnostics;
  all.insert(all.end(), checked.survey.diagnostics.begin(), checked.survey.diagnostics.end());
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.line < b.line; });
  for (const Diagnostic& d : all) ++checked.counts[static_cast<int>(d.severity)];
  return checked;
}

std::string plural(std::size_t n, const char* what) { return std::to_string(n) + " " + what + (n == 1 ? "" : "s"); }

/// Columns on a terminal: Hangul and what comes after it are two wide.
std::size_t width_of(const std::string& text) {
  std::size_t width = 0;
  for (const CodePoint& c : decode(text)) width += c.value >= 0x1100 ? 2 : 1;
  return width;
}

/// The first of each severity, so that a flood of warnings does not hide an error.
void print_findings(const Checked& checked, std::size_t limit) {
  constexpr const char* names[] = {"note", "warning", "error"};
  std::size_t shown[3] = {0, 0, 0};
  for (const Diagnostic& d : checked.corpus.diagnostics)
    if (shown[static_cast<int>(d.severity)]++ < limit || limit == 0) std::cerr << to_text(d) << '\n';
  for (int i = 0; i < 3; ++i)
    if (limit > 0 && shown[i] > limit)
      std::cerr << checked.corpus.path << ": " << plural(shown[i] - limit, (std::string("more ") + names[i]).c_str())
                << " (--limit 0 shows all)\n";
}

void print_labels(const char* what, const std::vector<LabelCount>& labels) {
  if (labels.empty()) return;
  std::size_t width = 0;
  for (const LabelCount& l : labels) width = std::max(width, width_of(l.label));
  std::printf("  %s\n", what);
  for (const LabelCount& l : labels)
    std::printf("    %s%*s %8zu  %5.1f %%%s\n", l.label.c_str(), static_cast<int>(width - width_of(l.label)), "",
                l.count, 100 * l.share, l.rare ? "  rare" : "");
}

void print_text(const Checked& c) {
  const Survey& s = c.survey;
  std::printf("%s: %s, %s, %s\n", c.corpus.path.c_str(), c.corpus.format.empty() ? "not read" : c.corpus.format.c_str(),
              plural(c.counts[2], "error").c_str(), plural(c.counts[1], "warning").c_str());
  if (s.documents == 0) return;
  std::printf("  documents   %zu (%zu annotated, %zu empty)\n", s.documents, s.annotated, s.empty);
  std::printf("  characters  %zu (%.1f a document, longest %zu)\n", s.characters,
              static_cast<double>(s.characters) / static_cast<double>(s.documents), s.longest);
  std::printf("  words       %zu\n", s.words);
  if (s.tokens > 0)
    std::printf("  tokens      %zu%s\n", s.tokens,
                c.corpus.scheme ? (" (" + std::string(scheme_name(*c.corpus.scheme)) + ")").c_str() : "");
  if (s.spans > 0) {
    std::printf("  entities    %zu (%zu nested inside others)\n", s.spans, s.nested);
    if (s.inside_words > 0)
      std::printf("              %zu end inside a word: with unit = word they cannot be learnt\n", s.inside_words);
    if (s.inside_characters > 0) std::printf("              %zu end inside a character\n", s.inside_characters);
    if (s.inside_tokens > 0) std::printf("              %zu end inside a token of the file\n", s.inside_tokens);
  }
  if (s.duplicates > 0)
    std::printf("  duplicates  %zu texts occur before (%zu with other annotation)\n", s.duplicates, s.conflicts);
  for (const auto& [path, n] : s.shared)
    if (n > 0) std::printf("  shared      %s with %s\n", plural(n, "text").c_str(), path.c_str());
  print_labels("entity labels", s.entities);
  print_labels("classes", s.classes);
}

Json labels_json(const std::vector<LabelCount>& labels) {
  Json list = Json::array();
  for (const LabelCount& l : labels)
    list.push_back({{"label", l.label}, {"count", l.count}, {"share", l.share}, {"rare", l.rare}});
  return list;
}

Json to_json(const Checked& c) {
  const Survey& s = c.survey;
  Json out{{"file", c.corpus.path},
           {"format", c.corpus.format},
           {"errors", c.counts[2]},
           {"warnings", c.counts[1]},
           {"documents", s.documents},
           {"annotated", s.annotated},
           {"empty", s.empty},
           {"characters", s.characters},
           {"longest", s.longest},
           {"words", s.words},
           {"tokens", s.tokens},
           {"entities", s.spans},
           {"nested", s.nested},
           {"inside_words", s.inside_words},
           {"inside_characters", s.inside_characters},
           {"inside_tokens", s.inside_tokens},
           {"duplicates", s.duplicates},
           {"conflicts", s.conflicts},
           {"shared", s.shared}};
  if (c.corpus.scheme) out["scheme"] = scheme_name(*c.corpus.scheme);
  out["entity_labels"] = labels_json(s.entities);
  out["classes"] = labels_json(s.classes);
  out["findings"] = Json::array();
  constexpr const char* names[] = {"note", "warning", "error"};
  for (const Diagnostic& d : c.corpus.diagnostics)
    out["findings"].push_back({{"severity", names[static_cast<int>(d.severity)]},
                               {"file", d.file},
                               {"line", d.line},
                               {"column", d.column},
                               {"message", d.message}});
  return out;
}

int check(const CheckFlags& flags) {
  Surveyor surveyor;
  if (!flags.model.empty()) surveyor.know(Labels::load(read_model(flags.model), "bib.labels").names(), flags.model);
  std::size_t errors = 0;
  Json files = Json::array();
  std::vector<std::string> formats;
  for (const std::string& path : flags.files) {
    const Checked checked = look(path, flags, surveyor);
    errors += checked.counts[2];
    if (!checked.corpus.format.empty()) formats.push_back(checked.corpus.format);
    if (flags.json) {
      files.push_back(to_json(checked));
    } else {
      print_findings(checked, flags.limit);
      print_text(checked);
    }
  }
  if (flags.json)
    std::printf("%s\n",
                Json{{"files", files}, {"errors", errors}}.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
  warn_of_idle_layout(flags.read, std::move(formats));
  return errors > 0 ? exit_code::bad_data : exit_code::ok;
}

}  // namespace

void add_check(CLI::App& app, Action& action) {
  CLI::App* verb = app.add_subcommand("check", "Find what is wrong with corpora; exit 3 on errors");
  auto flags = std::make_shared<CheckFlags>();
  verb->add_option("files", flags->files, "Corpora; later ones are also compared with earlier ones")->required();
  verb->add_option("--with", flags->model, "A model: report labels it does not know");
  add_read_flags(*verb, flags->read);
  verb->add_option("--limit", flags->limit, "Findings of each severity to list per file; 0 lists all")
      ->capture_default_str();
  verb->add_flag("--json", flags->json, "One JSON object, every finding included");
  verb->footer("Example: bib check train.txt dev.txt test.txt");
  verb->callback([&action, flags] { action = [flags] { return check(*flags); }; });
}

}  // namespace bib::cli
