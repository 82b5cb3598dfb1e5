//===- cli.cpp - command lines that teach ---------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "cli.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

using namespace effrt;
using namespace effrt::cli;

namespace {

constexpr const char *badOption = "EFF0102";

Error bad(std::string what, std::string hint = {}) {
  return makeError(badOption, std::move(what), {}, {}, std::move(hint));
}

std::string join(const std::vector<std::string> &words, const char *separator) {
  std::string text;
  for (const std::string &word : words)
    text += (text.empty() ? "" : separator) + word;
  return text;
}

/// Number of single-letter edits between two words.
size_t distance(const std::string &a, const std::string &b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j)
    row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t keep = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, keep});
    }
  }
  return row[b.size()];
}

Status parseInt(const std::string &flag, const std::string &text, int least,
                int most, int &value) {
  auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    return bad("--" + flag + " needs a whole number, not '" + text + "'");
  if (value < least || value > most)
    return bad("--" + flag + " must be from " + std::to_string(least) + " to " +
               std::to_string(most) + ", not " + text);
  return {};
}

std::vector<std::string> splitCommas(const std::string &text) {
  std::vector<std::string> parts;
  size_t start = 0;
  while (true) {
    size_t comma = text.find(',', start);
    parts.push_back(text.substr(start, comma - start));
    if (comma == std::string::npos)
      return parts;
    start = comma + 1;
  }
}

std::string shown(double value) {
  std::string text = std::to_string(value);
  text.erase(text.find_last_not_of('0') + 1);
  if (!text.empty() && text.back() == '.')
    text.pop_back();
  return text;
}

} // namespace

std::string cli::nearest(const std::string &word,
                         const std::vector<std::string> &known) {
  std::string best;
  size_t bestDistance = word.size() / 3 + 2;
  for (const std::string &candidate : known) {
    size_t d = distance(word, candidate);
    if (d < bestDistance) {
      bestDistance = d;
      best = candidate;
    }
  }
  return best;
}

Command::Command(std::string name, std::string summary, std::string usage,
                 std::vector<std::string> examples)
    : name_(std::move(name)), summary_(std::move(summary)),
      usage_(std::move(usage)), examples_(std::move(examples)) {}

Command::Flag &Command::add(std::string name, char letter,
                            std::string placeholder, std::string help) {
  Flag flag;
  flag.name = std::move(name);
  flag.letter = letter;
  flag.placeholder = std::move(placeholder);
  flag.help = std::move(help);
  flags_.push_back(std::move(flag));
  return flags_.back();
}

void Command::flag(std::string name, char letter, bool &value,
                   std::string help) {
  add(std::move(name), letter, "", std::move(help)).set =
      [&value](const std::string &) -> Status {
    value = true;
    return {};
  };
}

void Command::option(std::string name, char letter, std::string &value,
                     std::string placeholder, std::string help) {
  Flag &flag =
      add(std::move(name), letter, std::move(placeholder), std::move(help));
  flag.shownDefault = value;
  flag.set = [&value](const std::string &text) -> Status {
    value = text;
    return {};
  };
}

void Command::option(std::string name, char letter, int &value,
                     std::string placeholder, std::string help, int least,
                     int most) {
  Flag &flag = add(name, letter, std::move(placeholder), std::move(help));
  flag.shownDefault = std::to_string(value);
  flag.set = [&value, name = std::move(name), least,
              most](const std::string &text) {
    return parseInt(name, text, least, most, value);
  };
}

void Command::option(std::string name, char letter, double &value,
                     std::string placeholder, std::string help, double least,
                     double most) {
  Flag &flag = add(name, letter, std::move(placeholder), std::move(help));
  flag.shownDefault = shown(value);
  flag.set = [&value, name = std::move(name), least,
              most](const std::string &text) -> Status {
    char *end = nullptr;
    double parsed = std::strtod(text.c_str(), &end);
    if (text.empty() || *end)
      return bad("--" + name + " needs a number, not '" + text + "'");
    if (!(parsed >= least && parsed <= most))
      return bad("--" + name + " must be from " + shown(least) + " to " +
                 shown(most) + ", not " + text);
    value = parsed;
    return {};
  };
}

void Command::list(std::string name, char letter,
                   std::vector<std::string> &value, std::string placeholder,
                   std::string help) {
  Flag &flag =
      add(std::move(name), letter, std::move(placeholder), std::move(help));
  flag.shownDefault = join(value, ",");
  flag.set = [&value, first = true](const std::string &text) mutable -> Status {
    if (first)
      value.clear();
    first = false;
    for (std::string &part : splitCommas(text))
      value.push_back(std::move(part));
    return {};
  };
}

void Command::list(std::string name, char letter, std::vector<int> &value,
                   std::string placeholder, std::string help, int least,
                   int most) {
  Flag &flag = add(name, letter, std::move(placeholder), std::move(help));
  std::vector<std::string> defaults;
  for (int v : value)
    defaults.push_back(std::to_string(v));
  flag.shownDefault = join(defaults, ",");
  flag.set = [&value, name = std::move(name), least, most,
              first = true](const std::string &text) mutable -> Status {
    if (first)
      value.clear();
    first = false;
    for (const std::string &part : splitCommas(text)) {
      int parsed = 0;
      if (Status s = parseInt(name, part, least, most, parsed); !s)
        return s;
      value.push_back(parsed);
    }
    return {};
  };
}

void Command::choice(std::string name, char letter, std::string &value,
                     std::vector<std::string> choices, std::string help) {
  Flag &flag = add(name, letter, join(choices, "|"), std::move(help));
  flag.shownDefault = value;
  flag.set = [&value, name = std::move(name),
              choices = std::move(choices)](const std::string &text) -> Status {
    if (std::find(choices.begin(), choices.end(), text) == choices.end())
      return bad("--" + name + " has no value '" + text + "'",
                 "one of: " + join(choices, ", "));
    value = text;
    return {};
  };
}

void Command::positional(std::string name, std::string &value) {
  positionals_.push_back({std::move(name), &value});
}

void Command::section(std::string title) {
  sections_.emplace_back(flags_.size(), std::move(title));
}

const Command::Flag *Command::find(const std::string &name) const {
  for (const Flag &flag : flags_)
    if (flag.name == name)
      return &flag;
  return nullptr;
}

Error Command::unknown(const std::string &word) const {
  std::vector<std::string> known;
  for (const Flag &flag : flags_)
    known.push_back("--" + flag.name);
  std::string near = nearest(word, known);
  return bad("'" + name_ + "' has no flag " + word,
             near.empty() ? "see --help" : "did you mean " + near + "?");
}

Status Command::parse(int argc, const char *const *argv) {
  size_t positional = 0;
  bool flagsEnded = false;
  for (int i = 0; i < argc; ++i) {
    std::string word = argv[i];
    if (flagsEnded || word.size() < 2 || word[0] != '-') {
      if (positional == positionals_.size())
        return bad("'" + name_ + "' does not expect '" + word + "'",
                   "usage: " + name_ + " " + usage_);
      *positionals_[positional++].value = word;
      continue;
    }
    if (word == "--") {
      flagsEnded = true;
      continue;
    }
    if (word == "--help" || word == "-h") {
      helpAsked_ = true;
      return {};
    }
    const Flag *flag = nullptr;
    std::string value;
    bool hasValue = false;
    if (word[1] == '-') {
      size_t equals = word.find('=');
      hasValue = equals != std::string::npos;
      if (hasValue)
        value = word.substr(equals + 1);
      flag = find(word.substr(2, equals - 2));
    } else {
      for (const Flag &candidate : flags_)
        if (candidate.letter == word[1])
          flag = &candidate;
      if (flag && word.size() > 2) { // -n64
        hasValue = true;
        value = word.substr(word[2] == '=' ? 3 : 2);
      }
    }
    if (!flag)
      return unknown(word.substr(0, word.find('=')));
    if (flag->placeholder.empty()) {
      if (hasValue)
        return bad("--" + flag->name + " takes no value");
    } else if (!hasValue) {
      if (i + 1 == argc)
        return bad("--" + flag->name + " needs a value: " + flag->placeholder);
      value = argv[++i];
    }
    if (Status s = flag->set(value); !s)
      return s;
  }
  if (positional < positionals_.size())
    return bad("'" + name_ + "' needs " + positionals_[positional].name,
               "usage: " + name_ + " " + usage_);
  return {};
}

std::string Command::help(const std::string &program) const {
  std::string text =
      summary_ + "\n\nusage: " + program + " " + name_ + " " + usage_ + "\n";
  size_t nextSection = 0;
  for (size_t i = 0; i < flags_.size(); ++i) {
    while (nextSection < sections_.size() && sections_[nextSection].first == i)
      text += "\n" + sections_[nextSection++].second + ":\n";
    if (i == 0 && sections_.empty())
      text += "\n";
    const Flag &flag = flags_[i];
    std::string left = flag.letter ? std::string("  -") + flag.letter + ", "
                                   : std::string("      ");
    left += "--" + flag.name;
    if (!flag.placeholder.empty())
      left += " " + flag.placeholder;
    constexpr size_t column = 32;
    if (left.size() + 2 > column)
      left += "\n" + std::string(column, ' ');
    else
      left.resize(column, ' ');
    text += left + flag.help;
    if (!flag.shownDefault.empty() && !flag.placeholder.empty())
      text += " [" + flag.shownDefault + "]";
    text += "\n";
  }
  if (!examples_.empty()) {
    text += "\nexamples:\n";
    for (const std::string &example : examples_)
      text += "  " + example + "\n";
  }
  return text;
}
