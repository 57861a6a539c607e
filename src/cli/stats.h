// What an answer cost.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <tern/tern.hpp>

namespace tern::cli {

/// Tokens per second; 0 when no time passed.
double rate(std::size_t tokens, std::chrono::duration<double> time);

/// Most memory that this process ever had resident, in bytes.
std::uint64_t peak_memory();

/// "17.8 GB" style, powers of 1000.
std::string human_bytes(std::uint64_t bytes);
/// "31.6 B" style.
std::string human_count(std::uint64_t count);

/// Three lines: prompt, generation, memory.
std::string stats_text(const Generation& generation);

}  // namespace tern::cli
