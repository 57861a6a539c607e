// The help texts, made from the tables of commands and options.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

#include "cli/options.h"

namespace tern::cli {

/// Breaks `text` at spaces so that no line is longer than `width` (words may be); every line but
/// the first starts with `indent` spaces.
std::string wrap(std::string_view text, std::size_t indent, std::size_t width);

/// Help of one command.
std::string command_help(const Options& options, std::size_t width);

/// Help of a group of commands.
std::string group_help(std::string_view group, std::size_t width);

/// Help of the program: its commands, its environment, its exit statuses.
std::string program_help(std::size_t width);

}  // namespace tern::cli
