#include "train/formats/encoding.h"

#include <iconv.h>

#include <algorithm>
#include <cerrno>

#include "train/formats/format.h"

namespace bib::formats {
namespace {

std::string lower(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  return name;
}

/// Files that go by EUC-KR's names are CP949, which adds the syllables EUC-KR lacks, as browsers read them too: iconv's
/// own EUC-KR would make control characters of those bytes.
std::string iconv_name(const std::string& encoding) {
  for (const char* name : {"euc-kr", "euc_kr", "euckr", "ks_c_5601-1987", "ksc5601", "ks_c_5601", "korean"})
    if (lower(encoding) == name) return "CP949";
  return encoding;
}

std::string convert(const std::string& content, const std::string& encoding, const std::string& path) {
  const iconv_t converter = iconv_open("UTF-8", iconv_name(encoding).c_str());
  if (converter == reinterpret_cast<iconv_t>(-1))
    throw DataError("unknown encoding '" + encoding + "'; try utf-8, latin1, cp949, euc-kr or utf-16");
  std::string out(content.size() * 2 + 16, '\0');
  char *from = const_cast<char*>(content.data()), *to = out.data();  // iconv's interface predates const
  std::size_t from_left = content.size(), to_left = out.size();
  for (bool more = true; more;) {
    more = iconv(converter, &from, &from_left, &to, &to_left) == static_cast<std::size_t>(-1);
    const int why = more ? errno : 0;
    if (more && why == E2BIG) {
      const std::size_t used = out.size() - to_left;
      out.resize(2 * out.size());
      to = out.data() + used;
      to_left = out.size() - used;
    } else if (more) {
      iconv_close(converter);
      const std::size_t line =
          1 + static_cast<std::size_t>(std::count(content.data(), static_cast<const char*>(from), '\n'));
      throw DataError(path + ":" + std::to_string(line) + ": byte " + std::to_string(content.size() - from_left + 1) +
                      " of the file is not " + encoding + "; name the encoding it is in");
    }
  }
  iconv_close(converter);
  out.resize(out.size() - to_left);
  return out;
}

bool is_utf8_name(const std::string& name) { return lower(name) == "utf-8" || lower(name) == "utf8"; }

/// Which encoding the bytes of a line suggest: pairs of high bytes are Korean, single ones Latin.
const char* likely_encoding(std::string_view line) {
  std::size_t pairs = 0, singles = 0;
  const auto high = [&](std::size_t i) { return i < line.size() && static_cast<unsigned char>(line[i]) >= 0xA1; };
  for (std::size_t i = 0; i < line.size(); ++i)
    if (high(i)) high(i + 1) ? (++pairs, ++i) : ++singles;
  return pairs > singles ? "cp949" : "latin1";
}

/// One error for each of the first lines with invalid bytes, then one with their number.
void report_invalid(std::string_view content, const ReadOptions& options, Corpus& corpus) {
  constexpr std::size_t shown = 5;
  std::size_t bad = 0, first = 0;
  for_each_line(content, [&](const Line& line) {
    const std::size_t at = find_invalid_utf8(line.text);
    if (at == std::string_view::npos) return;
    if (++bad == 1) first = line.number;
    if (bad > shown || options.allow_invalid_utf8) return;
    char byte[8];
    std::snprintf(byte, sizeof byte, "0x%02X", static_cast<unsigned char>(line.text[at]));
    corpus.diagnostics.push_back({Severity::error, corpus.path, line.number, column_at(line.text, at),
                                  "byte " + std::string(byte) +
                                      " is not UTF-8; convert the file or name its encoding (" +
                                      likely_encoding(line.text) + "?)"});
  });
  if (options.allow_invalid_utf8)
    corpus.diagnostics.push_back(
        {Severity::warning, corpus.path, first, 0,
         count_of(bad, "line") + " with bytes that are not UTF-8, of which this is the first"});
  else if (bad > shown)
    corpus.diagnostics.push_back(
        {Severity::error, corpus.path, 0, 0, count_of(bad, "line") + " in all with bytes that are not UTF-8"});
}

/// The program that unpacks a compressed file, which says so in its first bytes; null for any other.
const char* unpacker_of(std::string_view content) {
  constexpr std::pair<std::string_view, const char*> known[] = {{"\x1F\x8B", "zcat"},
                                                                {"\xFD"
                                                                 "7zXZ",
                                                                 "xzcat"},
                                                                {"\x28\xB5\x2F\xFD", "zstdcat"},
                                                                {"BZh", "bzcat"},
                                                                {"PK\3\4", "unzip -p"}};
  for (const auto& [begin, program] : known)
    if (content.starts_with(begin)) return program;
  return nullptr;
}

constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

/// Files that begin with a mark and were joined have it where each began; returns how many were erased.
std::size_t erase_marks_of_lines(std::string& content) {
  const std::string marked = "\n" + std::string(byte_order_mark);
  std::size_t count = 0, to = 0, from = 0;
  for (std::size_t at; (at = content.find(marked, from)) != std::string::npos; ++count) {
    std::copy(content.begin() + static_cast<std::ptrdiff_t>(from),
              content.begin() + static_cast<std::ptrdiff_t>(at + 1), content.begin() + static_cast<std::ptrdiff_t>(to));
    to += at + 1 - from;
    from = at + marked.size();
  }
  if (count == 0) return 0;
  content.erase(to, from - to);
  return count;
}

/// A model, a picture, or UTF-16 without its mark: a list of its odd bytes would help nobody.
void refuse_binary(std::string_view content, const std::string& path) {
  const std::string_view head = content.substr(0, 1 << 16);
  const auto zeros = static_cast<std::size_t>(std::count(head.begin(), head.end(), '\0'));
  if (const char* program = unpacker_of(head); program && !is_valid_utf8(content))
    throw DataError(path + ": is compressed; unpack it first (" + program + " " + path + " | bib ... -)");
  if (zeros > 0 && (4 * zeros >= head.size() || !is_valid_utf8(content)))
    throw DataError(path + ": is no text: it holds zero bytes. If it is UTF-16, name its encoding (utf-16le)");
}

}  // namespace

void to_utf8(std::string& content, const ReadOptions& options, Corpus& corpus) {
  const auto note = [&](std::string message) {
    corpus.diagnostics.push_back({Severity::note, corpus.path, 0, 0, std::move(message)});
  };
  const bool utf16_mark = content.starts_with("\xFF\xFE") || content.starts_with("\xFE\xFF");
  if (!is_utf8_name(options.encoding)) {
    content = convert(content, options.encoding, corpus.path);
  } else if (utf16_mark) {
    note("begins with a UTF-16 byte order mark: read as UTF-16");
    content = convert(content, "UTF-16", corpus.path);
  }
  if (!options.allow_invalid_utf8) refuse_binary(content, corpus.path);
  if (content.starts_with(byte_order_mark)) {
    content.erase(0, byte_order_mark.size());
    note("begins with a byte order mark: skipped");
  }
  if (const std::size_t joined = erase_marks_of_lines(content); joined > 0)
    note(count_of(joined, "line") + " more with a byte order mark at the beginning, as joined files have: skipped");
  if (content.find("\r\n") != std::string::npos) {
    note("has Windows line ends (CRLF): read as line ends");
  } else if (content.find('\n') == std::string::npos && content.find('\r') < content.size() - 1) {
    std::replace(content.begin(), content.end(), '\r', '\n');
    note("has carriage returns (CR) alone for line ends: read as line ends");
  }
  if (!is_valid_utf8(content)) report_invalid(content, options, corpus);
}

}  // namespace bib::formats
