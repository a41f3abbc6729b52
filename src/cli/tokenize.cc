// cadre tokenize: text to ids and back. Needs tokenizer files, no weights.
#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "cli/commands.h"
#include "cli/model_path.h"
#include "cli/output.h"
#include "cli/shared_options.h"
#include "engine/open.h"

namespace cadre {
namespace {

struct TokenizeOptions {
  SharedOptions shared;
  std::string model;
  std::string text;
  std::string file;
  std::string ids;
  bool no_bos = false;
  bool json = false;
  enum class Input { kText, kFile, kIds } input = Input::kText;
};

void PrintIds(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool json) {
  if (!json) {
    Print(fmt::format("{}\n", fmt::join(ids, " ")));
    return;
  }
  OrderedJson pieces = OrderedJson::array();
  for (const int32_t id : ids) pieces.push_back(tokenizer.PieceText(id));
  PrintJson({{"ids", ids}, {"pieces", pieces}});
}

void Encode(const Tokenizer& tokenizer, std::string_view text, const TokenizeOptions& options) {
  std::vector<int32_t> ids;
  const bool wants_bos =
      !options.no_bos && tokenizer.vocabulary().add_bos && tokenizer.bos_id() >= 0;
  if (wants_bos) ids.push_back(tokenizer.bos_id());
  const auto encoded = tokenizer.Encode(text);
  ids.insert(ids.end(), encoded.begin(), encoded.end());
  PrintIds(tokenizer, ids, options.json);
}

void Decode(const Tokenizer& tokenizer, const TokenizeOptions& options) {
  const auto ids = ParseIds(options.ids);
  const std::string text = tokenizer.Decode(ids);
  if (options.json) return PrintJson({{"text", text}, {"ids", ids}});
  Print(text + "\n");
}

void Tokenize(const TokenizeOptions& options) {
  log::Start(options.shared.log_level);
  TextSource source = OpenText(ResolveModel(options.model));
  const Tokenizer tokenizer(std::move(source.vocabulary), source.file);
  using Input = TokenizeOptions::Input;
  if (options.input == Input::kIds) return Decode(tokenizer, options);
  if (options.input == Input::kText) return Encode(tokenizer, options.text, options);
  if (options.file == "-") return Encode(tokenizer, ReadStandardInput(), options);
  const MappedFile file(options.file);
  Encode(tokenizer, file.text(), options);
}

}  // namespace

void AddTokenizeCommand(CLI::App& app) {
  CLI::App* command = app.add_subcommand("tokenize", "Turn text into token ids, or ids into text");
  command->footer(
      "Example: cadre tokenize nano --text \"Hello world\"\n"
      "         cadre tokenize nano --decode \"1 22557 1526\"\n"
      "A folder with tokenizer files only, or a tokenizer.model itself, will do as MODEL.");
  auto options = std::make_shared<TokenizeOptions>();
  AddModel(*command, options->model);
  auto* input = command->add_option_group("input", "One of");
  input->add_option("--text", options->text, "The text");
  auto* file =
      input->add_option("--file", options->file, "A file that holds the text; -: standard input");
  auto* ids = input->add_option("--decode", options->ids, "Token ids to turn into text: \"1 2 3\"");
  input->require_option(1);
  command->add_flag("--no-bos", options->no_bos, "Do not put BOS before the text");
  AddJson(*command, options->json);
  AddSharedOptions(*command, options->shared);
  command->callback([options, file, ids] {
    if (file->count() > 0) options->input = TokenizeOptions::Input::kFile;
    if (ids->count() > 0) options->input = TokenizeOptions::Input::kIds;
    Tokenize(*options);
  });
}

}  // namespace cadre
