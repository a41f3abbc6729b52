#include "study/study_text.h"

#include <algorithm>
#include <filesystem>

#include "base/compressed.h"
#include "base/documents.h"
#include "base/error.h"

namespace cadre {
namespace {

namespace fs = std::filesystem;

// A document is cut where it has certainly more tokens than are wanted of it.
constexpr int64_t kMostBytesPerToken = 32;

bool HoldsDocuments(const fs::path& file) {
  const std::string name = file.filename().string();
  const std::string_view inner = UncompressedName(name);
  return inner.ends_with(".txt") || inner.ends_with(".jsonl");
}

std::vector<std::string> FilesOf(const std::string& path) {
  if (!fs::exists(path)) throw Error("{}: is not there", path);
  if (!fs::is_directory(path)) return {path};
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(path)) {
    if (entry.is_regular_file() && HoldsDocuments(entry.path()))
      files.push_back(entry.path().string());
  }
  if (files.empty())
    throw Error("{}: has no file that ends in .txt or .jsonl, with .zst or .gz behind it or not",
                path);
  std::sort(files.begin(), files.end());
  return files;
}

std::string NameOf(const std::string& file) {
  const std::string name = fs::path(file).filename().string();
  return name.substr(0, name.find('.'));
}

void AddFile(const std::string& name, const std::string& file, std::vector<DomainFiles>& domains) {
  if (name.empty()) throw Error("{}: a domain needs a name", file);
  auto found = std::find_if(domains.begin(), domains.end(),
                            [&](const DomainFiles& domain) { return domain.name == name; });
  if (found == domains.end()) found = domains.insert(found, DomainFiles{.name = name, .files = {}});
  found->files.push_back(file);
}

using Ids = std::vector<int32_t>;

// Thrown to leave a file in the middle.
struct Enough {};

// Documents until their first windows hold `tokens`.
void ReadFile(const std::string& file, const Tokenizer& tokenizer, int64_t tokens, int64_t window,
              std::vector<Ids>& documents) {
  int64_t first_windows = 0;
  try {
    ReadDocuments(file, [&](std::string text) {
      auto most = static_cast<size_t>(tokens * kMostBytesPerToken);
      while (most < text.size() && (static_cast<unsigned char>(text[most]) & 0xC0) == 0x80) --most;
      if (most < text.size()) text.resize(most);
      Ids ids = tokenizer.Encode(text);
      if (ids.empty()) return;
      first_windows += std::min(std::ssize(ids), window);
      documents.push_back(std::move(ids));
      if (first_windows >= tokens) throw Enough{};
    });
  } catch (const Enough&) {
  }
}

// How many ids of each document are taken.
std::vector<int64_t> Lengths(const std::vector<Ids>& documents, int64_t tokens, int64_t window) {
  std::vector<int64_t> lengths(documents.size());
  for (bool more = true; more && tokens > 0;) {
    more = false;
    for (size_t d = 0; d < documents.size() && tokens > 0; ++d) {
      const int64_t take = std::min({std::ssize(documents[d]) - lengths[d], window, tokens});
      lengths[d] += take;
      tokens -= take;
      more = more || take > 0;
    }
  }
  return lengths;
}

void AddDocument(const Ids& ids, int64_t length, int64_t window, RoutingTrace& trace) {
  RoutingTrace::Document document{.domain = std::ssize(trace.domains) - 1,
                                  .first_window = std::ssize(trace.windows),
                                  .begin = trace.num_tokens()};
  trace.ids.insert(trace.ids.end(), ids.begin(), ids.begin() + length);
  document.end = trace.num_tokens();
  for (int64_t begin = document.begin; begin < document.end; begin += window) {
    trace.windows.push_back({begin, std::min(begin + window, document.end)});
    ++document.num_windows;
  }
  trace.documents.push_back(document);
}

}  // namespace

std::vector<DomainFiles> FindDomains(const std::vector<std::string>& data) {
  std::vector<DomainFiles> domains;
  for (const auto& item : data) {
    const size_t equals = item.find('=');
    const bool named = equals != std::string::npos && !fs::exists(item);
    for (const auto& file : FilesOf(named ? item.substr(equals + 1) : item))
      AddFile(named ? item.substr(0, equals) : NameOf(file), file, domains);
  }
  return domains;
}

RoutingTrace ReadStudyText(const std::vector<DomainFiles>& domains, const Tokenizer& tokenizer,
                           int64_t tokens, int64_t window) {
  RoutingTrace trace;
  trace.vocab_size = tokenizer.vocab_size();
  for (const auto& [name, files] : domains) {
    std::vector<Ids> documents;
    for (const auto& file : files) {
      const int64_t share = (tokens + std::ssize(files) - 1) / std::ssize(files);
      ReadFile(file, tokenizer, share, window, documents);
    }
    const std::vector<int64_t> lengths = Lengths(documents, tokens, window);
    trace.domains.push_back(
        {.name = name, .first_document = std::ssize(trace.documents), .begin = trace.num_tokens()});
    for (size_t d = 0; d < documents.size(); ++d) {
      if (lengths[d] > 0) AddDocument(documents[d], lengths[d], window, trace);
    }
    RoutingTrace::Domain& domain = trace.domains.back();
    domain.num_documents = std::ssize(trace.documents) - domain.first_document;
    domain.end = trace.num_tokens();
    if (domain.tokens() == 0) throw Error("{}: the domain {} has no text", files.front(), name);
  }
  return trace;
}

}  // namespace cadre
