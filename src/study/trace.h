// What a model's routers did with a set of texts, token by token and layer by layer. Everything a
// study says is computed from this; it knows nothing of models. BOS is kept apart: it is the same
// in every window, so that its choices say nothing of the text.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace cadre {

struct RoutingTrace {
  // How many layers ahead a later router is asked about the present hidden state.
  static constexpr std::array<int64_t, 3> kDistances = {1, 2, 4};
  // Of the experts it ranks highest, up to so many are fetched.
  static constexpr int64_t kMostFetched = 4;

  struct Document {
    int64_t domain = 0;
    int64_t first_window = 0;
    int64_t num_windows = 0;
    int64_t begin = 0;  // tokens [begin, end), those of its windows
    int64_t end = 0;
    int64_t tokens() const { return end - begin; }
  };
  // Tokens that the model saw as one text, alone behind BOS. Neighbours are neighbours only here.
  struct Window {
    int64_t begin = 0;
    int64_t end = 0;
  };
  struct Domain {
    std::string name;
    int64_t first_document = 0;
    int64_t num_documents = 0;
    int64_t begin = 0;
    int64_t end = 0;
    int64_t tokens() const { return end - begin; }
  };
  struct Layer {
    std::vector<uint16_t> experts;  // [N, k] in order of choice
    std::vector<float> gates;       // [N, k]
    std::vector<float> entropy;     // [N] of the softmax over all experts, nats
    std::vector<float> margin;      // [N] logit of the last chosen less that of the best not chosen
    std::vector<uint16_t> bos_experts;  // [k]; empty: no BOS
    // [kDistances, documents, kMostFetched] of the choices, how many were among the first f guesses
    // made that many layers before; zero where there is no such layer.
    std::vector<int64_t> foreseen;
  };

  int64_t num_experts = 0;  // E
  int64_t top_k = 0;        // k
  int64_t vocab_size = 0;
  std::vector<Domain> domains;  // documents, windows and tokens lie in the order of the domains
  std::vector<Document> documents;
  std::vector<Window> windows;
  std::vector<int32_t> ids;  // [N]
  std::vector<Layer> layers;

  int64_t num_tokens() const { return std::ssize(ids); }
  int64_t num_layers() const { return std::ssize(layers); }
  std::span<const Document> DocumentsOf(const Domain& domain) const {
    return std::span(documents).subspan(static_cast<size_t>(domain.first_document),
                                        static_cast<size_t>(domain.num_documents));
  }
  std::span<const Window> WindowsOf(const Document& document) const {
    return std::span(windows).subspan(static_cast<size_t>(document.first_window),
                                      static_cast<size_t>(document.num_windows));
  }
  // The experts of token t, in order of choice.
  std::span<const uint16_t> Choices(const Layer& layer, int64_t t) const {
    return std::span(layer.experts)
        .subspan(static_cast<size_t>(t * top_k), static_cast<size_t>(top_k));
  }
  // Of the distance kDistances[d]: [kMostFetched].
  std::span<const int64_t> Foreseen(const Layer& layer, size_t d, int64_t document) const {
    const size_t row = d * documents.size() + static_cast<size_t>(document);
    return std::span(layer.foreseen).subspan(row * kMostFetched, kMostFetched);
  }
};

}  // namespace cadre
