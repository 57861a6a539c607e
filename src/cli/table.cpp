#include "cli/table.h"

#include <algorithm>
#include <string_view>

#include "base/check.h"

namespace tern::cli {
namespace {

std::string escape(const std::string& cell) {
  std::string text;
  for (const char c : cell) {
    if (c == '|') text += '\\';
    text += c == '\n' ? ' ' : c;
  }
  return text;
}

std::string pad(const std::string& cell, std::size_t width, Table::Align align) {
  const std::string space(width - display_width(cell), ' ');
  return align == Table::Align::right ? space + cell : cell + space;
}

}  // namespace

void Table::add(std::vector<std::string> row) {
  TERN_CHECK(row.size() == columns_.size());
  std::ranges::transform(row, row.begin(), escape);
  rows_.push_back(std::move(row));
}

std::string Table::markdown() const {
  std::string head = "|", rule = "|";
  std::vector<std::size_t> widths;
  for (std::size_t column = 0; column < columns_.size(); ++column) {
    const auto& [title, align] = columns_[column];
    std::size_t width = std::max<std::size_t>(display_width(title), 3);
    for (const auto& row : rows_) width = std::max(width, display_width(row[column]));
    widths.push_back(width);
    head += " " + pad(title, width, align) + " |";
    rule += align == Align::right ? " " + std::string(width - 1, '-') + ": |"
                                  : " " + std::string(width, '-') + " |";
  }
  std::string text = head + "\n" + rule + "\n";
  for (const auto& row : rows_) {
    text += "|";
    for (std::size_t column = 0; column < row.size(); ++column)
      text += " " + pad(row[column], widths[column], columns_[column].align) + " |";
    text += "\n";
  }
  return text;
}

std::size_t display_width(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (c & '\xc0') != '\x80'; }));
}

std::string csv_line(const std::vector<std::string>& cells) {
  std::string line;
  for (const auto& cell : cells) {
    if (&cell != &cells.front()) line += ',';
    if (cell.find_first_of(",\"\n\r") == std::string::npos) {
      line += cell;
      continue;
    }
    line += '"';
    for (const char c : cell) line += c == '"' ? std::string("\"\"") : std::string(1, c);
    line += '"';
  }
  return line + "\n";
}

}  // namespace tern::cli
