// Collects importance matrices while a model reads a text.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "convert/source.h"
#include "model/observer.h"

namespace tern::convert {

/// Sums of squared inputs for each matrix of a model, and how many inputs they are of. A column's
/// squares are added in double precision in the order of the tokens, so that the sums are the same
/// bits for any number of threads and however the text is cut into steps.
class ImatrixCollector final : public model::InputObserver {
 public:
  /// @param source  of the checkpoint that the observed model is loaded from
  /// @param head    whether lm_head is collected, too: llama.cpp's --process-output
  ImatrixCollector(const Source& source, bool head);

  void see(std::span<const model::Inputs> products, ThreadPool& pool) override;

  struct Summary {
    std::size_t tensors = 0;   ///< matrices, and stacks of experts
    std::size_t matrices = 0;  ///< each expert counted
    std::size_t unseen = 0;    ///< of them without an input
  };
  Summary summary() const;

  /// What the text was, as llama.cpp has it in the file.
  struct Text {
    std::string name;
    std::uint32_t chunks = 0, chunk_tokens = 0;
  };
  /// Writes what read_imatrix reads, at once.
  /// @error io  for example a full disk; numeric  a sum beyond float32
  Result<void> write(const std::filesystem::path& path, const Text& text) const;

 private:
  struct Sums {
    std::string name;  ///< in GGUF
    std::size_t inputs = 0;
    std::vector<double> squares;        ///< [matrices, inputs]
    std::vector<std::uint64_t> counts;  ///< [matrices]
  };
  struct Slot {
    std::size_t sums, matrix;
  };

  std::vector<Sums> sums_;
  std::unordered_map<const std::byte*, Slot> slots_;  // by where a matrix's codes lie
};

}  // namespace tern::convert
