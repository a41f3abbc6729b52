// Documents out of .txt and .jsonl files, plain or compressed.
#pragma once

#include <functional>
#include <string>

namespace cadre {

// Calls `take` with every document in file order: a .txt file is one document, a .jsonl file one
// per line (its string member "text"; empty lines and empty texts are passed over). With .zst or
// .gz behind the name the file is decompressed on the way, in bounded memory. Throws Error naming
// file and line for anything else.
void ReadDocuments(const std::string& path, const std::function<void(std::string text)>& take);

}  // namespace cadre
