#include "align/instruction_data.h"

#include "align/base_model.h"
#include "align/held_back.h"

namespace cadre {
namespace {

struct CutSample {
  Sample sample;
  bool cut = false;
};

}  // namespace

void SampleSet::Add(const Sample& sample) {
  tokens_.insert(tokens_.end(), sample.tokens.begin(), sample.tokens.end());
  trained_.insert(trained_.end(), sample.trained.begin(), sample.trained.end());
  begin_.push_back(tokens_.size());
  total_trained_ += sample.CountTrained();
}

std::vector<InstructionSource> ReadInstructions(const std::vector<DataSource>& sources,
                                                const SftConfig& config, double held_back,
                                                const ChatText& text, ThreadPool& threads) {
  std::vector<InstructionSource> read;
  for (const auto& source : sources) {
    InstructionSource& to = read.emplace_back();
    to.name = source.name;
    to.weight = source.weight;
    EncodeLines<CutSample>(
        PathsOf(source, config.data_folder), config.skip_bad_lines, threads, to.counts,
        [&](const OrderedJson& line, const std::string& name) {
          CutSample cut;
          cut.sample = EncodeSample(ParseInstructionLine(line, config.strings, name), text, name);
          cut.cut = CutEnd(cut.sample, config.segment_tokens);
          return cut;
        },
        [&](CutSample&& cut) {
          if (cut.sample.CountTrained() == 0) {
            ++to.counts.unusable;
            return;
          }
          to.counts.cut += cut.cut;
          (IsHeldBack(cut.sample.Prompt(), held_back) ? to.held_back : to.train).Add(cut.sample);
        });
    if (to.train.size() == 0) throw Error("{}: holds nothing to learn", source.files.front());
    log::info("{}: {} samples, {} held back, {} cut, {} with nothing to learn, {} bad lines",
              to.name, to.train.size(), to.held_back.size(), to.counts.cut, to.counts.unusable,
              to.counts.bad);
  }
  return read;
}

}  // namespace cadre
