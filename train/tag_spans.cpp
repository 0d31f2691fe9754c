// Tags to entities, by the rules of each scorer, and back.
#include <algorithm>
#include <stdexcept>

#include "train/metrics.h"

namespace bib {

namespace {

struct Tag {
  char prefix = 'O';
  std::string_view type;
  bool outside() const { return prefix == 'O'; }
};

/// A bare word such as "PER" is an entity that says nothing about its ends: neighbours of one type are one entity.
Tag parse(std::string_view text, Tag before) {
  const FileTag tag = parse_tag(text, before.type);
  return tag.letter == 0 ? Tag{'I', text} : Tag{tag.letter, tag.label};
}

bool is_pair(char before, char now, const char* pairs) {
  for (const char* p = pairs; p[0] != '\0'; p += 3) {
    if (p[0] == before && p[1] == now) return true;
  }
  return false;
}

/// conlleval.pl. E occurs there for IOE tags, where it ends an entity before another of its type.
struct ConllRule {
  static bool starts(Tag before, Tag now) {
    return is_pair(before.prefix, now.prefix, "BB IB OB OI EE EI OE ") || (!now.outside() && before.type != now.type);
  }
  static bool ends(Tag before, Tag now) {
    return is_pair(before.prefix, now.prefix, "BB BO IB IO EE EI EO ") ||
           (!before.outside() && before.type != now.type);
  }
};

/// seqeval's default mode.
struct SeqevalRule {
  static bool starts(Tag before, Tag now) {
    return is_pair(before.prefix, now.prefix, "EE EI SE SI OE OI ") || now.prefix == 'B' || now.prefix == 'S' ||
           (!now.outside() && before.type != now.type);
  }
  static bool ends(Tag before, Tag now) {
    return before.prefix == 'E' || before.prefix == 'S' || is_pair(before.prefix, now.prefix, "BB BS BO IB IS IO ") ||
           (!before.outside() && before.type != now.type);
  }
};

template <typename Rule>
std::vector<Span> spans_by_transitions(const Tags& tags) {
  std::vector<Span> spans;
  Tag before;
  std::size_t begin = 0;
  bool open = false;
  std::string_view type;
  for (std::size_t i = 0; i <= tags.size(); ++i) {
    const Tag now = i < tags.size() ? parse(tags[i], before) : Tag{};
    if (open && Rule::ends(before, now)) {
      spans.push_back({{begin, i}, std::string(type)});
      open = false;
    }
    if (Rule::starts(before, now)) {
      begin = i;
      open = true;
      type = now.type;
    }
    before = now;
  }
  return spans;
}

std::vector<Tag> parse_strictly(const Tags& tags, Scheme scheme) {
  if (scheme == Scheme::iob1)
    throw std::invalid_argument("strict scores need the scheme iob2, bioes or bilou, not iob1");
  const std::string_view allowed = scheme == Scheme::iob2 ? "BIO" : "BIOES";
  std::vector<Tag> parsed;
  for (std::size_t i = 0; i < tags.size(); ++i) {
    const FileTag tag = parse_tag(tags[i], parsed.empty() ? std::string_view{} : parsed.back().type);
    if (tag.letter == 0 || allowed.find(tag.letter) == std::string_view::npos) {
      throw TagError("tag \"" + tags[i] + "\" is not in the scheme " + std::string(scheme_name(scheme)) +
                         "; name the scheme of the files, or choose a mode that is not strict",
                     0, i);
    }
    parsed.push_back({tag.letter, tag.label});
  }
  return parsed;
}

std::vector<Span> strict_spans(const Tags& tags, Scheme scheme) {
  const std::vector<Tag> parsed = parse_strictly(tags, scheme);
  const bool bioes = scheme != Scheme::iob2;
  std::vector<Span> spans;
  for (std::size_t i = 0; i < parsed.size(); ++i) {
    const Tag first = parsed[i];
    std::size_t end = i + 1;
    if (first.prefix == 'B') {
      while (end < parsed.size() && parsed[end].prefix == 'I' && parsed[end].type == first.type) ++end;
      if (bioes) {
        if (end == parsed.size() || parsed[end].prefix != 'E' || parsed[end].type != first.type) continue;
        ++end;
      }
    } else if (first.prefix != 'S') {
      continue;
    }
    spans.push_back({{i, end}, std::string(first.type)});
    i = end - 1;
  }
  return spans;
}

}  // namespace

Scheme detect_scheme(const std::vector<Tags>& sentences) {
  bool begins = false, ends = false;
  for (const Tags& tags : sentences) {
    for (const std::string& tag : tags) {
      const char prefix = parse_tag(tag).letter;
      if (prefix == 'S') return Scheme::bioes;
      begins |= prefix == 'B';
      ends |= prefix == 'E';
      if (begins && ends) return Scheme::bioes;
    }
  }
  return Scheme::iob2;
}

std::vector<Span> spans_of_tags(const Tags& tags, NerMode mode, Scheme scheme) {
  switch (mode) {
    case NerMode::strict: return strict_spans(tags, scheme);
    case NerMode::klue: return strict_spans(tags, Scheme::iob2);
    case NerMode::seqeval: return spans_by_transitions<SeqevalRule>(tags);
    case NerMode::conll: break;
  }
  // conlleval.pl joins neighbours in BIOES ("S-A S-A" is one phrase to it), so such tags are read as what they mean.
  return scheme == Scheme::bioes || scheme == Scheme::bilou ? spans_by_transitions<SeqevalRule>(tags)
                                                            : spans_by_transitions<ConllRule>(tags);
}

Tags iob2_tags(const std::vector<ByteRange>& tokens, const std::vector<Span>& spans) {
  Tags tags(tokens.size(), "O");
  std::vector<Span> sorted = spans;
  std::sort(sorted.begin(), sorted.end(),
            [](const Span& a, const Span& b) { return a.begin != b.begin ? a.begin < b.begin : a.end > b.end; });
  std::size_t token = 0;  // tokens before it end before every span to come
  for (const Span& span : sorted) {
    while (token < tokens.size() && tokens[token].end <= span.begin) ++token;
    const char* prefix = "B-";
    for (; token < tokens.size() && tokens[token].begin < span.end; ++token) {
      tags[token] = prefix + span.label;
      prefix = "I-";
    }
  }
  return tags;
}

}  // namespace bib
