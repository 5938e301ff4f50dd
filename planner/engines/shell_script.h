#pragma once
// Shell script: the one step of it that starts an engine, with the variables filled in whose values
// are written down. No shell is run; what only a shell can know stays marked as unknown, and is
// refused where it would decide memory.
#include <map>
#include <string>
#include <vector>

namespace vramplan {

/// Values by name. A value may hold marks of what is not known.
using Variables = std::map<std::string, std::string>;

/// What stands between two of these in a word is text whose value is not written down ("$MODEL").
inline constexpr char kUnknownMark = '\x1a';
bool holds_unknown(const std::string& word);
/// The first text between marks, "" when there is none.
std::string unknown_in(const std::string& word);

struct EngineStep {
  std::vector<std::string> words;
  Variables environment;  // what is exported to it, as far as it is known
};

/// Steps end at line ends, ";" and "&&". "export A=b" and "A=b" set variables; $A, ${A} and
/// ${A:-word} read them, and those of `environment`. Other steps (set, cd, pip install) are passed
/// over. "sh -c SCRIPT" is read as the script it holds. No words when no step starts an engine.
/// Errors: kUsage when more than one does, for an open quote, for pipes, redirections and "&" in
/// the engine's step, and for more than 4 MiB of filled text; kUnsupported for control flow,
/// functions and here documents.
EngineStep engine_step(const std::string& script, const Variables& environment);
/// The same of words that a container starts: a plain command, or a shell with its script.
EngineStep engine_step(std::vector<std::string> words, const Variables& environment);

/// "$(NAME)" in each word as a kubelet fills it in; "$$" is one "$". What is not known becomes a
/// mark, or stays as it is where a shell reads the words again. Source: Kubernetes, "Define a
/// command and arguments for a container".
std::vector<std::string> filled_by_kubelet(std::vector<std::string> words, const Variables& known);
std::string filled_by_kubelet(const std::string& word, const Variables& known, bool marks);
/// "$NAME", "${NAME}" and "${NAME:-word}" as compose fills them in from `known`; "$$" is one "$".
std::string filled_by_compose(const std::string& word, const Variables& known);

}  // namespace vramplan
