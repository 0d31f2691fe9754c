// Parallel files: words in one, as many tags in the other, a sentence a line. ETRI's x.words.txt and x.tags.txt;
// SNIPS's seq.in and seq.out, with the classes in `label`.
#include <filesystem>
#include <optional>

#include "train/formats/files.h"
#include "train/formats/tag_decoder.h"

namespace bib::formats {
namespace {

namespace fs = std::filesystem;

/// The name of the tags that belong to a file of words; empty if it is none.
std::string tags_name(const std::string& words) {
  if (words == "seq.in") return "seq.out";
  const std::size_t at = words.rfind("words");
  return at == std::string::npos ? "" : words.substr(0, at) + "tags" + words.substr(at + 5);
}

Likelihood detect(const Sample& sample) {
  const fs::path path(sample.path);
  const std::string tags = tags_name(path.filename().string());
  std::error_code ignored;
  return !tags.empty() && fs::exists(path.parent_path() / tags, ignored) ? certain : no;
}

std::vector<Line> lines_of(std::string_view text) {
  std::vector<Line> lines;
  for_each_line(text, [&](const Line& line) { lines.push_back(line); });
  return lines;
}

void read(const Source& source) {
  const fs::path path(source.corpus.path);
  const std::string name = tags_name(path.filename().string());
  if (name.empty())
    throw DataError(path.string() + ": parallel files are named ...words... and ...tags..., or seq.in and seq.out");
  const std::string tags_path = (path.parent_path() / name).string();
  std::string tags_text = read_file(tags_path), labels_text;
  to_utf8(tags_text, source.options, source.corpus);
  const fs::path labels_path = path.parent_path() / "label";
  const bool labelled = name == "seq.out" && fs::exists(labels_path);
  if (labelled) {
    labels_text = read_file(labels_path.string());
    to_utf8(labels_text, source.options, source.corpus);
  }

  const std::vector<Line> words_lines = lines_of(source.text), tag_lines = lines_of(tags_text),
                          label_lines = lines_of(labels_text);
  const auto need_equal = [&](const std::string& other, std::size_t lines) {
    if (lines != words_lines.size())
      throw DataError(other + ": " + count_of(lines, "line") + ", but " + path.string() + " has " +
                      std::to_string(words_lines.size()));
  };
  need_equal(tags_path, tag_lines.size());
  if (labelled) need_equal(labels_path.string(), label_lines.size());

  TagDecoder decoder(source);
  for (std::size_t i = 0; i < words_lines.size(); ++i) {
    const Line& line = words_lines[i];
    Document document{
        .text = std::string(line.text), .tokens = words(line.text), .annotated = true, .line = line.number};
    std::vector<std::string_view> tags;
    bool bad = false;
    for (const ByteRange& range : words(tag_lines[i].text)) {
      tags.push_back(slice(tag_lines[i].text, range));
      if (parse_tag(tags.back()).letter != 0) continue;
      source.error(line, 0, in_quotes(tags.back()) + " in " + name + " is not a tag");
      bad = true;
    }
    if (tags.size() != document.tokens.size()) {
      source.error(line, 0,
                   count_of(document.tokens.size(), "word") + ", but " + count_of(tags.size(), "tag") + " in " + name);
      bad = true;
    }
    if (bad) continue;
    document.tags.assign(tags.begin(), tags.end());
    if (labelled) document.labels = {std::string(label_lines[i].text)};
    decoder.decode(document, tags, std::vector<Line>(tags.size(), line));
    source.corpus.documents.push_back(std::move(document));
  }
  decoder.finish();
}

}  // namespace

const Format parallel{"parallel", "words and tags in two files, seq.in and seq.out", true, true, detect, read, nullptr};

}  // namespace bib::formats
