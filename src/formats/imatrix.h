// Importance matrices: for every column of a weight matrix, the sum of the squares of the inputs it
// was multiplied with over some text. GGUF files of type "imatrix", as llama.cpp 0.7.0 writes them
// (tensors NAME.in_sum2 and NAME.counts; what else stands there is passed over), and its older .dat
// files, which are read only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace cadre {

// Of one tensor of weights: a matrix, or one matrix per expert.
struct ImportanceEntry {
  std::vector<float> sums;    // [E, cols]: sums of squared inputs
  std::vector<float> counts;  // [E]: of how many inputs. A .dat file has one number for all experts
};

struct ImportanceMatrix {
  std::map<std::string, ImportanceEntry> entries;  // by the tensor's name in GGUF files
  std::vector<std::string> datasets;               // where the text came from
  // By the tensor's name: what an error in it does to the model's output (quantize/sensitivity.h).
  // Cadre's own; other programs pass over it.
  std::map<std::string, float> sensitivity;
  uint32_t num_chunks = 0;
  uint32_t chunk_tokens = 0;
};

// Throws Error naming the file and what is wrong: sums and counts that do not belong together, that
// are negative or no numbers.
ImportanceMatrix ReadImportanceMatrix(const std::string& path);
// The same from memory; `name` is for messages.
ImportanceMatrix ParseImportanceMatrix(std::span<const std::byte> bytes, const std::string& name);

// As GGUF; the file appears whole or not at all.
void WriteImportanceMatrix(const ImportanceMatrix& matrix, const std::string& path);

}  // namespace cadre
