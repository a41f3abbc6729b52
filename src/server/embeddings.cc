#include "server/embeddings.h"

#include <openssl/evp.h>

#include <bit>
#include <cmath>

#include "base/log.h"
#include "server/completion_request.h"

namespace cadre {
namespace {

static_assert(std::endian::native == std::endian::little);

void Normalise(std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * value;
  if (!(sum > 0)) return;
  const double scale = 1 / std::sqrt(sum);
  for (float& value : values) value = static_cast<float>(value * scale);
}

void CheckShape(Fields& fields, const ApiConfig& config) {
  for (const char* name : {"dimensions", "output_dimension"}) {
    const std::optional<int64_t> size = fields.Integer(name, 1, int64_t{1} << 31);
    if (size && *size != config.model->dim) {
      fields.Fail(name,
                  fmt::format("is {} but this model's embeddings have {}, and were not trained to "
                              "be cut",
                              *size, config.model->dim),
                  "value_error");
    }
  }
  const std::string type = fields.String("output_dtype").value_or("float");
  if (type != "float")
    fields.Fail("output_dtype", "is '" + Printable(type) + "' but must be float", "literal_error");
}

class Embeddings : public AnswerWriter {
 public:
  Embeddings(AnswerHead head, size_t num_inputs, bool base64)
      : head_(std::move(head)), base64_(base64), vectors_(num_inputs) {}

  void Begin(HttpReply&) override {}

  void Event(size_t index, RequestEvent event, HttpReply&) override {
    if (!event.end) return;
    vectors_[index] = std::move(event.end->embedding);
    Normalise(vectors_[index]);
    usage_.Add(event.end->usage, true);
  }

  void End(HttpReply& reply) override {
    OrderedJson data = OrderedJson::array();
    for (size_t i = 0; i < vectors_.size(); ++i) {
      OrderedJson entry = {{"object", "embedding"}, {"index", i}};
      entry["embedding"] =
          base64_ ? OrderedJson(Base64OfFloats(vectors_[i])) : OrderedJson(vectors_[i]);
      data.push_back(std::move(entry));
    }
    const OrderedJson body = {{"id", head_.id},           {"object", "list"},
                              {"created", head_.created}, {"data", std::move(data)},
                              {"model", head_.model},     {"usage", usage_.Json()}};
    reply.Respond({.body = Dump(body)});
  }

  void Fail(const ApiError& error, HttpReply& reply) override { reply.Respond(error.Response()); }

 private:
  const AnswerHead head_;
  const bool base64_;
  std::vector<std::vector<float>> vectors_;
  UsageSum usage_;
};

}  // namespace

std::string Base64OfFloats(const std::vector<float>& values) {
  const size_t num_bytes = values.size() * sizeof(float);
  std::string text(4 * ((num_bytes + 2) / 3) + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                     reinterpret_cast<const unsigned char*>(values.data()),
                                     static_cast<int>(num_bytes));
  text.resize(static_cast<size_t>(length));
  return text;
}

EmbeddingRequest ParseEmbeddingRequest(const OrderedJson& body, const ApiConfig& config) {
  Fields fields(body);
  config.CheckModel(fields.RequiredString("model"));
  CheckShape(fields, config);
  EmbeddingRequest request;
  const std::string format = fields.String("encoding_format").value_or("float");
  if (format != "float" && format != "base64") {
    fields.Fail("encoding_format", "is '" + Printable(format) + "' but must be float or base64",
                "literal_error");
  }
  request.base64 = format == "base64";
  // Older clients of one dialect say "inputs".
  const OrderedJson* input = fields.Find("input");
  if (input == nullptr) input = fields.Find("inputs");
  if (input == nullptr) fields.Fail("input", "is missing", "missing");
  request.inputs = ParsePrompts(*input, "input", config, false).ids;
  for (const std::string& name : fields.Unknown())
    log::debug("the request's field '{}' is ignored", Printable(name));
  return request;
}

std::unique_ptr<AnswerWriter> MakeEmbeddings(AnswerHead head, size_t num_inputs, bool base64) {
  return std::make_unique<Embeddings>(std::move(head), num_inputs, base64);
}

}  // namespace cadre
