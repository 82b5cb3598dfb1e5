//===- cli.h - command lines that teach ---------------------------*- C++
//-*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// One verb's flags, bound to variables: parsing with errors that list what is
/// valid and name the nearest flag, and a help page with examples.
///
//===----------------------------------------------------------------------===//

#ifndef EFFRT_TOOLS_CLI_H
#define EFFRT_TOOLS_CLI_H

#include "effrt/support.h"

#include <functional>
#include <string>
#include <vector>

namespace effrt::cli {

/// The word of `known` that is nearest to `word`, empty when none is near.
std::string nearest(const std::string &word,
                    const std::vector<std::string> &known);

/// A verb: its flags, positional arguments and help page.
class Command {
public:
  /// `usage` is what follows the verb, "MODEL.onnx [-o FILE]"; `examples` whole
  /// lines.
  Command(std::string name, std::string summary, std::string usage,
          std::vector<std::string> examples);

  // Every flag is "--name" and, when `letter` is not 0, "-letter". The value
  // that the variable holds when the flag is added is the default and is shown.
  void flag(std::string name, char letter, bool &value, std::string help);
  void option(std::string name, char letter, std::string &value,
              std::string placeholder, std::string help);
  void option(std::string name, char letter, int &value,
              std::string placeholder, std::string help, int least, int most);
  void option(std::string name, char letter, double &value,
              std::string placeholder, std::string help, double least,
              double most);
  /// Values from repeating the flag or from commas: --batch 1,4.
  void list(std::string name, char letter, std::vector<std::string> &value,
            std::string placeholder, std::string help);
  void list(std::string name, char letter, std::vector<int> &value,
            std::string placeholder, std::string help, int least, int most);
  /// One of `choices`.
  void choice(std::string name, char letter, std::string &value,
              std::vector<std::string> choices, std::string help);
  /// A required positional argument; they are filled in order.
  void positional(std::string name, std::string &value);
  /// Starts a new section of flags in the help page.
  void section(std::string title);

  /// Parses what follows the verb. Sets `helpAsked` on --help / -h.
  Status parse(int argc, const char *const *argv);
  bool helpAsked() const { return helpAsked_; }
  std::string help(const std::string &program) const;
  const std::string &name() const { return name_; }
  const std::string &summary() const { return summary_; }

private:
  struct Flag {
    std::string name, placeholder, help, shownDefault;
    char letter = 0;
    std::function<Status(const std::string &)> set;
  };
  struct Positional {
    std::string name;
    std::string *value;
  };
  Flag &add(std::string name, char letter, std::string placeholder,
            std::string help);
  const Flag *find(const std::string &name) const;
  Error unknown(const std::string &word) const;

  std::string name_, summary_, usage_;
  std::vector<std::string> examples_;
  std::vector<Flag> flags_;
  std::vector<std::pair<size_t, std::string>> sections_;
  std::vector<Positional> positionals_;
  bool helpAsked_ = false;
};

} // namespace effrt::cli

#endif // EFFRT_TOOLS_CLI_H
