#include "cli/explain.h"

#include <cstdlib>
#include <iostream>

#include "cli/verbs.h"
#include "models/nearest.h"

namespace bib::cli {
namespace {

/// The verb that the command line got as far as naming.
const CLI::App& named_verb(const CLI::App& app) {
  const std::vector<CLI::App*> used = app.get_subcommands();
  return used.empty() ? app : named_verb(*used.back());
}

std::vector<std::string> flags_of(const CLI::App& verb) {
  std::vector<std::string> names;
  if (verb.get_parent() && verb.get_fallthrough()) names = flags_of(*verb.get_parent());
  for (const CLI::Option* option : verb.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  return names;
}

std::string joined(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return list;
}

std::string meant(const std::string& name, const std::vector<std::string>& candidates) {
  const std::string close = nearest(name, candidates);
  return close.empty() ? "" : "; did you mean " + close + "?";
}

/// The variable whose value was refused, for the end of the message; "" where the value came from elsewhere.
std::string variable_behind(const CLI::App& app, const std::string& what) {
  for (const CLI::Option* option : app.get_options()) {
    const std::string& name = option->get_envname();
    const char* value = name.empty() ? nullptr : std::getenv(name.c_str());
    if (value && what.starts_with(option->get_name() + ":") && what.find(value) != std::string::npos)
      return " (the environment variable " + name + ")";
  }
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; }))
    if (const std::string found = variable_behind(*verb, what); !found.empty()) return found;
  return "";
}

}  // namespace

std::string path_of(const CLI::App& verb) {
  return verb.get_parent() ? path_of(*verb.get_parent()) + " " + verb.get_name() : verb.get_name();
}

std::vector<std::string> verbs_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(verb->get_name());
  return names;
}

std::string refusal(const CLI::App& verb, const std::string& argument) {
  if (argument.size() > 1 && argument[0] == '-') {
    const std::string flag = argument.substr(0, argument.find('='));
    return flag + " is no flag of " + path_of(verb) + meant(flag, flags_of(verb));
  }
  const std::vector<std::string> verbs = verbs_of(verb);
  if (verbs.empty()) return "'" + argument + "' is one argument too many";
  const std::string close = meant(argument, verbs);
  return "'" + argument + "' is no subcommand" + (close.empty() ? "; there are " + joined(verbs) : close);
}

Fault fault_of(const CLI::App& app, const CLI::ParseError& error) {
  // What no verb took stays with the program, which had the last look at it where the verbs pass things on.
  const CLI::App& verb = app.remaining(false).empty() || app.get_fallthrough() ? named_verb(app) : app;
  const std::vector<std::string> left = app.remaining(true);
  std::string what = error.what();
  if (!left.empty()) {
    what = refusal(verb, left.front());
  } else if (verb.get_require_subcommand_min() > 0 && dynamic_cast<const CLI::RequiredError*>(&error)) {
    what = "a subcommand is missing: " + joined(verbs_of(verb));
  } else {
    what += variable_behind(app, what);
  }
  return {path_of(verb), what};
}

int explain(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) return app.exit(error);
  const auto [verb, what] = fault_of(app, error);
  std::cerr << verb << ": error: " << what << '\n' << "'" << verb << " --help' explains its use\n";
  return exit_code::usage;
}

void refuse_empty(const CLI::App& app) {
  for (const CLI::App* verb : app.get_subcommands()) refuse_empty(*verb);
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = option->get_name();
    if (option->get_expected_max() == 0 || name == "--name" || name == "--item-id") continue;
    for (const std::string& value : option->results())
      if (value.empty()) throw CLI::ValidationError(name, "is empty; give it a value");
  }
}

}  // namespace bib::cli
