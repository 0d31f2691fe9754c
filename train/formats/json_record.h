// One annotated text in JSON, in the dialect of spaCy, Prodigy, doccano, Label Studio, NIKL or bib itself.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "train/formats/tag_decoder.h"

namespace bib::formats {

/// Reads records into a corpus. What is wrong with a record is reported under the line given.
class RecordReader {
 public:
  explicit RecordReader(const Source& source) : source_(source), decoder_(source) {}

  void read(const nlohmann::json& record, std::size_t line);
  void finish();  // reports what was counted

 private:
  struct Spot;  // a record while it is read
  bool read_text(Spot& spot, const nlohmann::json& record) const;
  void read_fields(Spot& spot, const nlohmann::json& record);
  void read_tuple(Spot& spot, const nlohmann::json& record);
  bool read_tagged(Spot& spot, const nlohmann::json& record);
  void read_annotations(Spot& spot, const nlohmann::json& record);
  void read_annotation(Spot& spot, const nlohmann::json& value, bool of_text);
  void read_span(Spot& spot, const nlohmann::json& value);
  void read_results(Spot& spot, const nlohmann::json& annotations);
  void read_tokens(Spot& spot, const nlohmann::json& tokens);
  void add_span(Spot& spot, double begin, double end, std::string label, const nlohmann::json* text);
  void keep(Spot& spot);

  const Source& source_;
  TagDecoder decoder_;
  bool tagged_ = false;  // some record held tokens and tags
  struct Counted {       // what is reported once, with the line of the first
    std::size_t count = 0, first = 0;
    void add(std::size_t line) {
      if (count++ == 0) first = line;
    }
  };
  Counted rejected_, skipped_, further_, other_results_;
};

}  // namespace bib::formats
