// The texts of a study: which files make which domain, and how much of each document is looked at.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "study/trace.h"
#include "text/tokenizer.h"

namespace cadre {

struct DomainFiles {
  std::string name;
  std::vector<std::string> files;
};

// From "NAME=PATH" and "PATH", a path being a file of documents (base/documents.h) or a folder of
// them. A name given twice has the files of both; a file without one is named after what stands
// before its first dot; a folder without one has a domain for each such name. Throws Error for a
// path without such files.
std::vector<DomainFiles> FindDomains(const std::vector<std::string>& data);

// Takes about `tokens` of each domain: the first window of every document, then the second of those
// that have one, and so on, so that there are as many documents as can be; the files of a domain
// share it. `window`: most ids of one, BOS not counted. The result has no layers yet. Throws Error
// naming a domain without text.
RoutingTrace ReadStudyText(const std::vector<DomainFiles>& domains, const Tokenizer& tokenizer,
                           int64_t tokens, int64_t window);

}  // namespace cadre
