// Tables in Markdown: they read well on a terminal and can be pasted anywhere.
#pragma once
#include <string>
#include <vector>

namespace tern::cli {

class Table {
 public:
  enum class Align : bool { left, right };
  struct Column {
    std::string title;
    Align align = Align::left;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  /// One cell for each column.
  void add(std::vector<std::string> row);
  bool empty() const { return rows_.empty(); }

  /// Head, rule and rows, each line ending in a newline. A `|` inside a cell is escaped.
  std::string markdown() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

/// Columns that `text` takes on a terminal: its characters, not its bytes.
std::size_t display_width(std::string_view text);

/// One line of comma-separated values; cells with commas, quotes or newlines are quoted (RFC 4180).
std::string csv_line(const std::vector<std::string>& cells);

}  // namespace tern::cli
