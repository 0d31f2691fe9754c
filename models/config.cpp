// Config as TOML: written from, and read through, the one field table in include/bib/config.h.
#include "bib/config.h"

#define TOML_HEADER_ONLY 1  // its library, which Debian has only as a shared one, would be needed by every program
#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <sstream>
#include <utility>

#include "bib/error.h"
#include "models/nearest.h"
#include "models/text.h"

namespace bib {
namespace {

// Names of the enumerations, in the order of their values.
constexpr const char* names_of(Task) { return "ner tc"; }
constexpr const char* names_of(Unit) { return "syllable word"; }
constexpr const char* names_of(Scheme) { return "iob1 iob2 bioes bilou"; }
constexpr const char* names_of(Optimizer) { return "adam sgd"; }
constexpr const char* names_of(Schedule) { return "constant linear cosine"; }

std::vector<std::string> split(const char* names) {
  std::istringstream in(names);
  std::vector<std::string> out;
  for (std::string name; in >> name;) out.push_back(name);
  return out;
}

/// The shortest text that reads back as the same number.
std::string number(float x) {
  char buffer[32];
  std::string text(buffer, std::to_chars(buffer, buffer + sizeof buffer, x).ptr);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

template <class T>
std::string to_text(const T& x) {
  if constexpr (std::is_same_v<T, bool>) {
    return x ? "true" : "false";
  } else if constexpr (std::is_enum_v<T>) {
    return '"' + split(names_of(x))[static_cast<std::size_t>(x)] + '"';
  } else if constexpr (std::is_same_v<T, std::string>) {
    std::ostringstream out;
    out << toml::node_view<const toml::node>(toml::value<std::string>(x));
    return out.str();
  } else if constexpr (std::is_same_v<T, std::vector<int>>) {
    std::string text = "[";
    for (std::size_t i = 0; i < x.size(); ++i) text += (i ? ", " : "") + std::to_string(x[i]);
    return text + "]";
  } else if constexpr (std::is_floating_point_v<T>) {
    return number(x);
  } else {
    return std::to_string(x);
  }
}

/// Where a node stands, as "file:line".
std::string place(const std::string& file, const toml::node& node) {
  return file + ":" + std::to_string(node.source().begin.line);
}

[[noreturn]] void refuse(const std::string& where, const std::string& key, const std::string& what) {
  throw DataError(where + ": error: " + key + " " + what);
}

/// The greatest of a whole number that TOML can hold.
template <class T>
constexpr auto most = static_cast<std::int64_t>(std::min<std::uint64_t>(std::numeric_limits<T>::max(),
                                                                        std::numeric_limits<std::int64_t>::max()));

template <class T>
void assign(T& to, const toml::node& node, const std::string& where, const std::string& key) {
  if constexpr (std::is_same_v<T, bool>) {
    const auto v = node.value_exact<bool>();
    if (!v) refuse(where, key, "must be true or false");
    to = *v;
  } else if constexpr (std::is_enum_v<T>) {
    const auto v = node.value_exact<std::string>();
    const std::vector<std::string> names = split(names_of(to));
    const auto at = v ? std::find(names.begin(), names.end(), *v) : names.end();
    if (at == names.end()) {
      std::string allowed;
      for (const std::string& name : names) allowed += (allowed.empty() ? "\"" : ", \"") + name + "\"";
      refuse(where, key, "must be one of " + allowed);
    }
    to = static_cast<T>(at - names.begin());
  } else if constexpr (std::is_same_v<T, std::string>) {
    const auto v = node.value_exact<std::string>();
    if (!v) refuse(where, key, "must be a string in quotes");
    to = *v;
  } else if constexpr (std::is_same_v<T, std::vector<int>>) {
    const toml::array* array = node.as_array();
    if (!array) refuse(where, key, "must be a list of whole numbers, such as [1, 2, 3]");
    to.clear();
    for (const toml::node& item : *array) assign(to.emplace_back(), item, where, key);
  } else if constexpr (std::is_floating_point_v<T>) {
    const auto v = node.value<double>();
    if (!v || node.is_boolean() || !std::isfinite(*v)) refuse(where, key, "must be a number");
    to = static_cast<T>(*v);
    if (!std::isfinite(to)) refuse(where, key, "is too large");
  } else {
    const auto v = node.value_exact<std::int64_t>();
    if (!v) refuse(where, key, "must be a whole number");
    if (*v < 0 || *v > most<T>) refuse(where, key, "must be between 0 and " + std::to_string(most<T>));
    to = static_cast<T>(*v);
  }
}

std::string nearest_key(Config& config, const std::string& key) {
  std::vector<std::string> keys;
  visit(config, [&](const char*, const char* name, auto&, const char*) { keys.push_back(name); });
  const std::string best = nearest(key, keys);
  std::string where;
  visit(config, [&](const char* section, const char* name, auto&, const char*) {
    if (best == name) where = std::string(section) + (*section ? "." : "");
  });
  return best.empty() ? "" : "; did you mean " + where + best + "?";
}

bool has_section(const Config& config, const std::string& name) {
  bool found = false;
  visit(config, [&](const char* section, const char*, const auto&, const char*) { found = found || name == section; });
  return found;
}

/// Sets the field of this name; an empty section matches any. False when there is none.
bool set_node(Config& config, const std::string& section, const std::string& key, const toml::node& node,
              const std::string& where) {
  bool found = false;
  visit(config, [&](const char* s, const char* k, auto& field, const char*) {
    if (found || key != k || (!section.empty() && section != s)) return;
    found = true;
    assign(field, node, where, section.empty() ? key : section + "." + key);
  });
  return found;
}

/// f(section, key, field of a, field of b) for every field.
template <class A, class B, class F>
void visit_both(A& a, B& b, F&& f) {
  visit(a, [&](const char* section, const char* key, auto& x, const char*) {
    visit(b, [&](const char*, const char* other, auto& y, const char*) {
      if constexpr (std::is_same_v<std::decay_t<decltype(x)>, std::decay_t<decltype(y)>>)
        if (std::string_view(key) == other) f(std::string_view(section), std::string_view(key), x, y);
    });
  });
}

toml::table parse(std::string_view text, const std::string& file) {
  try {
    return toml::parse(text, file);
  } catch (const toml::parse_error& e) {
    throw DataError(file + ":" + std::to_string(e.source().begin.line) + ":" + std::to_string(e.source().begin.column) +
                    ": error: " + std::string(e.description()));
  }
}

}  // namespace

Config default_config(Task task, Unit unit) {
  Config c;
  c.task = task;
  c.unit = unit;
  if (unit == Unit::word) {
    c.syllable = c.bigram = c.trigram = c.jamo = 0;
    c.word = 100;
    c.characters = 30;
    c.zero_digits = true;
  }
  // Tuned on parts of the training data of bib/split, CoNLL-2003 and NSMC, never on their test sets.
  if (task == Task::ner && unit == Unit::syllable) {
    c.lr = 6e-3f;
    c.dropout_output = 0.2f;
    c.dropout_recurrent = 0.1f;
    c.epochs = 12;
  } else if (task == Task::ner) {
    c.lr = 4e-3f;
    c.epochs = 15;
  } else {
    c.lr = 3e-3f;
    c.syllable = std::min(c.syllable, 48);
    c.jamo = std::min(c.jamo, 8);
    c.filters = 112;
    c.dropout_input = 0.2f;
    c.unknown_rate = 0.2f;
    c.batch = 16;
    c.epochs = 12;
  }
  return c;
}

Config continued(const Config& base) {
  Config c = default_config(base.task, base.unit);
  visit_both(c, base, [](std::string_view section, std::string_view key, auto& field, const auto& given) {
    if (section != "train" || key == "nested") field = given;
  });
  return c;
}

std::string differences(const Config& config, const Config& base) {
  std::string text;
  visit_both(config, base, [&](std::string_view section, std::string_view key, const auto& field, const auto& given) {
    const bool free = section == "train" || key == "min_count" || key == "max_entries";
    if (free || field == given) return;
    text += (text.empty() ? "" : "; ") + std::string(section) + (section.empty() ? "" : ".") + std::string(key) +
            " = " + to_text(given) + ", not " + to_text(field);
  });
  return text;
}

void check(const Config& c) {
  const auto require = [](bool ok, const std::string& what) {
    if (!ok) throw DataError("configuration: error: " + what);
  };
  // What a program may set, but no TOML file hold: its model could not be read again.
  visit(c, [&](const char*, const char* name, const auto& field, const char*) {
    using T = std::decay_t<decltype(field)>;
    if constexpr (std::is_floating_point_v<T>)
      require(std::isfinite(field), std::string(name) + " is no number");
    else if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>)
      require(std::cmp_greater_equal(field, 0) && std::cmp_less_equal(field, most<T>),
              std::string(name) + " is " + std::to_string(field) + "; it must be 0 to " + std::to_string(most<T>));
    else if constexpr (std::is_same_v<T, std::string>)
      require(is_valid_utf8(field), std::string(name) + " is no UTF-8, which the model holds it in");
  });
  const auto rate = [&](const char* name, float x) {
    require(x >= 0 && x < 1, std::string(name) + " is " + number(x) + "; it must be at least 0 and below 1");
  };
  require(c.epochs >= 1, "epochs is 0; at least 1 pass over the data is needed");
  require(c.batch >= 1 && c.batch <= 65536, "batch is " + std::to_string(c.batch) + "; it must be 1 to 65536");
  require(c.train_rate > 0 && c.train_rate <= 1,
          "train_rate is " + number(c.train_rate) +
              "; it is the share of the data to train on, above 0 and at most 1 (the rest is the dev set)");
  require(c.hidden >= 1 && c.hidden <= 8192, "hidden is " + std::to_string(c.hidden) + "; it must be 1 to 8192");
  require(c.layers >= 1 && c.layers <= 16, "layers is " + std::to_string(c.layers) + "; it must be 1 to 16");
  require(c.filters >= 1 && c.filters <= 65536, "filters must be 1 to 65536");
  require(!c.windows.empty(), "windows is empty; name at least one width, such as [2, 3]");
  for (int w : c.windows) require(w >= 1 && w <= 64, "windows holds " + std::to_string(w) + "; widths are 1 to 64");
  require(c.nested == "outermost" || c.nested == "innermost", "nested must be \"outermost\" or \"innermost\"");
  require(c.lr > 0, "lr is " + number(c.lr) + "; it must be above 0");
  require(c.min_count >= 1, "min_count is 0; it must be at least 1");
  rate("dropout_input", c.dropout_input);
  rate("dropout_recurrent", c.dropout_recurrent);
  rate("dropout_output", c.dropout_output);
  rate("unknown_rate", c.unknown_rate);
  rate("ema", c.ema);
  rate("momentum", c.momentum);
  require(c.clip >= 0 && c.weight_decay >= 0, "clip and weight_decay must not be negative");
  for (int dim : {c.syllable, c.bigram, c.trigram, c.word, c.jamo, c.shape, c.affix, c.characters}) {
    require(dim <= 4096, "an embedding size of " + std::to_string(dim) + " is beyond 4096");
  }
  const bool syllables = c.unit == Unit::syllable;
  require(syllables ? c.syllable + c.bigram + c.trigram + c.word + c.jamo + c.shape > 0
                    : c.word + c.shape + c.affix + c.characters > 0,
          "every feature is off; give at least one an embedding size");
  require(c.vectors.empty() || (syllables ? c.syllable : c.word) > 0,
          std::string("vectors are given, but the size of the embedding they fill is 0; set ") +
              (syllables ? "syllable" : "word") + " to their dimension");
  require(c.characters == 0 || (c.character_filters >= 1 && c.character_filters <= 65536 && c.character_window >= 1 &&
                                c.character_window <= 16),
          "character_filters must be 1 to 65536 and character_window 1 to 16");
}

std::string to_toml(const Config& config) {
  std::string text, open;
  visit(config, [&](const char* section, const char* key, const auto& field, const char* help) {
    if (open != section) {
      open = section;
      text += "\n[" + open + "]\n";
    }
    std::string line = std::string(key) + " = " + to_text(field);
    line.append(line.size() < 28 ? 28 - line.size() : 1, ' ');
    text += line + "# " + help + "\n";
  });
  return text;
}

Config from_toml(std::string_view text, const std::string& file, Config config) {
  const toml::table root = parse(text, file);
  for (const auto& [key, node] : root) {
    const std::string name(key.str());
    if (const toml::table* section = node.as_table()) {
      if (section->empty() && !has_section(config, name))
        refuse(place(file, node), "[" + name + "]", "is no section; there are [features], [model] and [train]");
      for (const auto& [inner_key, inner] : *section) {
        const std::string inner_name(inner_key.str());
        if (set_node(config, name, inner_name, inner, place(file, inner))) continue;
        refuse(place(file, inner), name + "." + inner_name, "is not a setting" + nearest_key(config, inner_name));
      }
    } else if (!set_node(config, "", name, node, place(file, node))) {
      refuse(place(file, node), name, "is not a setting" + nearest_key(config, name));
    }
  }
  return config;
}

void set_field(Config& config, std::string_view assignment) {
  const std::string where(assignment);
  const std::size_t equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0) throw DataError(where + ": error: write key=value");
  std::string key(assignment.substr(0, equals)), value(assignment.substr(equals + 1)), section;
  if (const std::size_t dot = key.find('.'); dot != std::string::npos) {
    section = key.substr(0, dot);
    key = key.substr(dot + 1);
  }
  toml::table line;
  try {
    line = toml::parse("x = " + value);
  } catch (const toml::parse_error&) {  // a bare word, as a shell user writes it
    line.insert("x", value);
  }
  if (!set_node(config, section, key, *line.get("x"), where)) {
    throw DataError(where + ": error: " + (section.empty() ? "" : section + ".") + key + " is not a setting" +
                    nearest_key(config, key));
  }
}

}  // namespace bib
