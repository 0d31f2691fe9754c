// Tags to entities, by the rules of each scorer, and back.
#include <algorithm>
#include <set>

#include "train/metrics.h"

namespace bib {

TagParts split_tag(std::string_view tag) {
  constexpr std::string_view prefixes = "BIESLUMW";
  if (tag.size() > 1 && tag[1] == '_' && prefixes.find(tag[0]) != std::string_view::npos) {
    return {tag.substr(0, 1), tag.substr(2)};
  }
  const std::size_t dash = tag.find('-');
  if (dash == std::string_view::npos) return {tag, {}};
  return {tag.substr(0, dash), tag.substr(dash + 1)};
}

namespace {

struct Tag {
  char prefix = 'O';
  std::string_view type;
  bool outside() const { return prefix == 'O'; }
};

/// Other spellings of the same scheme: BILOU's L and U, BMEWO's M and W. 0 for what is no prefix at all.
char canonical_prefix(std::string_view prefix) {
  if (prefix.size() != 1) return 0;
  switch (prefix[0]) {
    case 'L': return 'E';
    case 'M': return 'I';
    case 'U':
    case 'W': return 'S';
    case 'B':
    case 'I':
    case 'O':
    case 'E':
    case 'S': return prefix[0];
    default: return 0;
  }
}

Tag parse(std::string_view text) {
  const TagParts parts = split_tag(text);
  const char prefix = canonical_prefix(parts.prefix);
  // A bare word such as "PER" is an entity without boundaries: type and prefix are the word, and it continues itself.
  if (prefix == 0) return {'I', parts.type.empty() ? parts.prefix : parts.type};
  return {prefix, prefix == 'O' ? std::string_view{} : parts.type};
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
  std::optional<std::size_t> begin;
  std::string_view type;
  for (std::size_t i = 0; i <= tags.size(); ++i) {
    const Tag now = i < tags.size() ? parse(tags[i]) : Tag{};
    if (begin && Rule::ends(before, now)) {
      spans.push_back({{*begin, i}, std::string(type)});
      begin.reset();
    }
    if (Rule::starts(before, now)) {
      begin = i;
      type = now.type;
    }
    before = now;
  }
  return spans;
}

std::vector<Tag> parse_strictly(const Tags& tags, TagScheme scheme) {
  const std::string_view allowed = scheme == TagScheme::bioes ? "BIOES" : "BIO";
  std::vector<Tag> parsed;
  for (std::size_t i = 0; i < tags.size(); ++i) {
    const char prefix = canonical_prefix(split_tag(tags[i]).prefix);
    if (prefix == 0 || allowed.find(prefix) == std::string_view::npos) {
      throw TagError("tag \"" + tags[i] + "\" is not in the scheme " + (scheme == TagScheme::bioes ? "BIOES" : "IOB2") +
                         "; choose the scheme of the file, or a mode that is not strict",
                     0, i);
    }
    parsed.push_back(parse(tags[i]));
  }
  return parsed;
}

std::vector<Span> strict_spans(const Tags& tags, TagScheme scheme) {
  const std::vector<Tag> parsed = parse_strictly(tags, scheme);
  const bool bioes = scheme == TagScheme::bioes;
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

TagScheme detect_scheme(const std::vector<Tags>& sentences) {
  bool begins = false, ends = false;
  for (const Tags& tags : sentences) {
    for (const std::string& tag : tags) {
      const char prefix = canonical_prefix(split_tag(tag).prefix);
      if (prefix == 'S') return TagScheme::bioes;
      begins |= prefix == 'B';
      ends |= prefix == 'E';
      if (begins && ends) return TagScheme::bioes;
    }
  }
  return TagScheme::iob2;
}

std::vector<Span> spans_of_tags(const Tags& tags, NerMode mode, TagScheme scheme) {
  switch (mode) {
    case NerMode::strict: return strict_spans(tags, scheme);
    case NerMode::klue: return strict_spans(tags, TagScheme::iob2);
    case NerMode::seqeval: return spans_by_transitions<SeqevalRule>(tags);
    case NerMode::conll: break;
  }
  // conlleval.pl joins neighbours in BIOES ("S-A S-A" is one phrase to it), so such tags are read as what they mean.
  return scheme == TagScheme::bioes ? spans_by_transitions<SeqevalRule>(tags) : spans_by_transitions<ConllRule>(tags);
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
