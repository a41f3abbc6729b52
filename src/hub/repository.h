// What a hub says a repository holds, and which of it makes a model. Nothing the hub says is
// trusted: names that would leave the folder, absurd sizes and checksums that are none are refused.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/json_fwd.h"

namespace cadre {

struct RemoteFile {
  std::string path;  // relative, with / between folders
  uint64_t size = 0;
  DigestKind digest_kind = DigestKind::kSha256;
  std::string digest;
};

struct Repository {
  std::string commit;  // what the revision stood for
  std::vector<RemoteFile> files;
};

// "owner/name", each of letters, digits and ". _ -". Throws Error for anything else.
void CheckRepositoryName(const std::string& name);

// From the answer to /api/models/OWNER/NAME/revision/REVISION?blobs=true. Throws Error naming
// `name` and what is wrong.
Repository ParseRepository(const Json& json, const std::string& name);

// The files one needs to run the model: weights in one layout (Hugging Face's safetensors, else
// Mistral's, else the one GGUF model), configuration, tokenizer. With patterns ("*" and "?"), the
// files that match one of them instead. Throws Error when there is no model, or more GGUF models
// than one to choose from.
std::vector<RemoteFile> ChooseFiles(const Repository& repository,
                                    const std::vector<std::string>& patterns,
                                    const std::string& name);

// Whether all of `text` matches.
bool MatchesPattern(std::string_view pattern, std::string_view text);

}  // namespace cadre
