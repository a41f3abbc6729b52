// cadre bench: how fast a model runs here, beside what the machine can do at most and what cadre
// plan would have said.
#include <algorithm>
#include <memory>
#include <numeric>
#include <set>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/huge_memory.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/random.h"
#include "cli/bench_report.h"
#include "cli/commands.h"
#include "cli/model_path.h"
#include "cli/outlook.h"
#include "cli/run_needs.h"
#include "cli/session.h"
#include "cpu/limits.h"
#include "model/kv_cache.h"
#include "model/presets.h"
#include "model/synthetic.h"

namespace cadre {
namespace {

Spread SpreadOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  if (n == 0) return {};
  return {n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2, values.front(),
          values.back()};
}

double Values(const Weight& w) { return static_cast<double>(w.rows) * static_cast<double>(w.cols); }

Work WorkOf(const Model& model, int64_t prompt) {
  Work work;
  const double top_k = static_cast<double>(model.config.router.top_k);
  const auto tokens = static_cast<double>(prompt);
  double products = 0;
  for (size_t l = 0; l < model.weights.layers.size(); ++l) {
    const LayerWeights& layer = model.weights.layers[l];
    for (const Weight* w : {&layer.wq, &layer.wk, &layer.wv, &layer.wo}) {
      work.shared_bytes += static_cast<double>(w->bytes());
      products += tokens * Values(*w);
    }
    // In the last layer only the last token's experts are run.
    const bool last = l + 1 == model.weights.layers.size();
    const ExpertWeights& expert = layer.experts[0];
    for (const Weight* w : {&expert.w1, &expert.w2, &expert.w3}) {
      if (l == 0) work.expert_bytes += static_cast<double>(w->bytes());
      products += (last ? 1 : tokens) * top_k * Values(*w);
    }
  }
  work.shared_bytes += static_cast<double>(model.weights.head.bytes());
  products += Values(model.weights.head);
  work.bytes_per_step = work.shared_bytes + static_cast<double>(model.weights.layers.size()) *
                                                top_k * work.expert_bytes;
  work.operations_per_prompt = 2 * products;
  return work;
}

// The sequence that prompts are measured on, and those of the batch beside it.
RunNeeds NeedsOf(const BenchCommand& command, const ModelConfig& config) {
  const int64_t longest = std::max(command.depth, command.prompt);
  RunNeeds needs = OneSequence(config, command.depth + command.prompt + command.generate, longest);
  if (command.batch == 1) return needs;
  needs.step_tokens = std::max(needs.step_tokens, command.batch);
  needs.logit_rows = command.batch + 1;
  needs.other_bytes += Activations::InferenceBytes(config, needs.step_tokens, config.router.top_k);
  needs.least_pages +=
      command.batch * PagesOf(config, command.depth + command.generate, needs.step_tokens);
  needs.most_pages = needs.least_pages;
  return needs;
}

// A model to run, opened or made.
struct Bench {
  explicit Bench(const BenchCommand& command) {
    if (!command.model.empty()) {
      session = std::make_unique<ModelSession>(command.model, TextNeed::kNone, command.shared,
                                               command.run);
      session->Fit(NeedsOf(command, session->config()));
      device = &session->device();
      experts = &session->experts();
      model = &session->model();
      return;
    }
    log::Start(command.shared.log_level);
    ModelConfig config = Preset(command.preset);
    if (command.layers > 0) config.num_layers = command.layers;
    const auto type = DTypeFromName(command.type);
    if (!type) throw Error("--type is '{}', which is no type", Printable(command.type));
    threads = std::make_unique<ThreadPool>(command.shared.threads);
    own_device = MakeDevice(command.shared, *threads);
    device = own_device.get();
    synthetic = std::make_unique<SyntheticModel>(config, *type, *device);
    model = &synthetic->model();
    own_experts = std::make_unique<ResidentExperts>(model->weights);
    experts = own_experts.get();
  }

  std::unique_ptr<ModelSession> session;
  std::unique_ptr<ThreadPool> threads;
  std::unique_ptr<Device> own_device;
  std::unique_ptr<SyntheticModel> synthetic;
  std::unique_ptr<ResidentExperts> own_experts;
  Device* device = nullptr;
  ExpertSource* experts = nullptr;
  const Model* model = nullptr;
};

// What cadre plan says of this run, asked when it is over: the machine is as it was just now.
// process_bytes: the program before the model.
void PredictRun(const Bench& bench, const BenchCommand& command, int64_t process_bytes,
                Measured& measured) {
  if (command.run.Misses().on_miss != OnMiss::kWait) return;
  const bool fetches = bench.session && bench.session->has_budget();
  const LoadedModel* loaded = bench.session ? &bench.session->loaded() : nullptr;
  const Model& model = loaded != nullptr ? loaded->model() : *bench.model;
  const Outlook outlook(model, fetches ? &loaded->checkpoint() : nullptr, *bench.device,
                        command.shared, command.run,
                        {.shape = {.prompt = command.prompt,
                                   .generate = command.generate,
                                   .depth = command.depth,
                                   .batch = command.batch},
                         .needs = NeedsOf(command, model.config),
                         .process_bytes = process_bytes,
                         .routing_files = command.routing_files,
                         .others = {}});
  const auto [memory, prediction] = outlook.For(model);
  measured.predicted = prediction;
  measured.predicted_bytes = static_cast<double>(TotalBytes(memory));
}

std::vector<int32_t> RandomIds(int64_t count, int64_t vocab, Random& random) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (auto& id : ids) id = static_cast<int32_t>(random.NextBelow(static_cast<uint64_t>(vocab)));
  return ids;
}

// Sequences that grow side by side, one random token each per step.
class Batched {
 public:
  Batched(Bench& bench, const BenchCommand& command)
      : bench_(bench),
        kv_type_(command.run.Sequence().kv_type),
        pool_(bench.model->config.kv_shape(kv_type_)),
        activations_(bench.model->config, Activations::Keep::kOneLayer),
        logits_(command.batch * bench.model->config.vocab_size) {
    options_.activation = command.run.Sequence().activation;
    options_.observer = &count_experts_;
    for (int64_t i = 0; i < command.batch; ++i) caches_.emplace_back(pool_);
  }

  // Runs `ids` in front of every sequence, which is empty before.
  void Fill(std::span<const int32_t> ids) {
    for (KvCache& cache : caches_) cache.Truncate(0);
    depth_ = 0;
    for (size_t begin = 0; begin < ids.size(); begin += Sequence::kChunk) {
      const auto chunk = ids.subspan(begin, std::min<size_t>(Sequence::kChunk, ids.size() - begin));
      for (size_t s = 0; s < caches_.size(); ++s) {
        std::vector<int64_t> positions(chunk.size());
        std::iota(positions.begin(), positions.end(), depth_);
        Run(chunk, positions, std::vector<int32_t>(chunk.size(), static_cast<int32_t>(s)), {});
      }
      depth_ += std::ssize(chunk);
    }
  }

  void Step(std::span<const int32_t> ids) {
    std::vector<int32_t> sequence_of_row(ids.size());
    std::vector<int64_t> wanted(ids.size());
    std::iota(sequence_of_row.begin(), sequence_of_row.end(), 0);
    std::iota(wanted.begin(), wanted.end(), 0);
    Run(ids, std::vector<int64_t>(ids.size(), depth_), sequence_of_row, wanted);
    ++depth_;
  }

  // Experts that ran since the last time, all layers together.
  double TakeExperts() { return static_cast<double>(std::exchange(experts_, 0)); }

 private:
  void Run(std::span<const int32_t> ids, const std::vector<int64_t>& positions,
           const std::vector<int32_t>& sequence_of_row, const std::vector<int64_t>& wanted) {
    std::vector<KvSequence> views;
    for (KvCache& cache : caches_) {
      cache.Reserve(positions.back() + 1);
      views.push_back(cache.view());
    }
    const Batch batch{.ids = ids,
                      .positions = positions,
                      .sequence_of_row = sequence_of_row,
                      .sequences = views,
                      .kv_type = kv_type_,
                      .wanted_rows = wanted,
                      .router_limits = {}};
    Forward(*bench_.model, *bench_.experts, *bench_.device, batch, options_, activations_,
            {logits_.data(), std::ssize(wanted), bench_.model->config.vocab_size});
  }

  void CountExperts(const Routing& routing) {
    std::set<int32_t> seen;
    for (int64_t t = 0; t < routing.experts.rows; ++t) {
      for (int64_t c = 0; c < routing.experts.cols; ++c) seen.insert(routing.experts.row(t)[c]);
    }
    experts_ += std::ssize(seen);
  }

  Bench& bench_;
  KvType kv_type_;
  KvPagePool pool_;
  std::vector<KvCache> caches_;
  Activations activations_;
  Buffer<float> logits_;
  ForwardOptions options_;
  int64_t depth_ = 0;
  int64_t experts_ = 0;
  RoutingObserver count_experts_ = [this](int64_t, const Routing& r) { CountExperts(r); };
};

// Tokens per second of all sequences together.
Spread MeasureBatch(Bench& bench, const BenchCommand& command, Work& work) {
  const int64_t vocab = bench.model->config.vocab_size;
  Random random(command.shared.seed + 2);
  Batched sequences(bench, command);
  const auto prefix = RandomIds(command.depth, vocab, random);
  std::vector<double> rates;
  Progress progress("measuring batches", command.repeat + 1);
  for (int i = -1; i < command.repeat; ++i) {  // the first one warms up
    sequences.Fill(prefix);
    sequences.TakeExperts();
    const Stopwatch watch;
    for (int64_t n = 0; n < command.generate; ++n)
      sequences.Step(RandomIds(command.batch, vocab, random));
    const double seconds = watch.Seconds();
    const auto steps = static_cast<double>(command.generate);
    work.bytes_per_step = work.shared_bytes + sequences.TakeExperts() / steps * work.expert_bytes;
    progress.Update(i + 2);
    if (i >= 0) rates.push_back(steps * static_cast<double>(command.batch) / seconds);
  }
  return SpreadOf(rates);
}

Measured Measure(Bench& bench, const BenchCommand& command, int64_t process_bytes) {
  const int64_t vocab = bench.model->config.vocab_size;
  Random random(command.shared.seed + 1);
  Buffer<float> logits(vocab);
  const Mat<float> row(logits.data(), 1, vocab);
  auto sequence = std::make_unique<Sequence>(*bench.model, *bench.experts, *bench.device,
                                             command.run.Sequence());
  const auto prefix = RandomIds(command.depth, vocab, random);
  std::vector<double> prompt_rates, generate_rates;
  std::unique_ptr<Progress> progress = std::make_unique<Progress>("measuring", command.repeat + 1);
  for (int i = -1; i < command.repeat; ++i) {  // the first one warms up
    const auto ids = RandomIds(command.prompt, vocab, random);
    const auto next = RandomIds(command.generate, vocab, random);
    sequence->KeepPrefixOf({});
    if (!prefix.empty()) sequence->Append(prefix, row);
    const Stopwatch prompt_watch;
    sequence->Append(ids, row);
    const double prompt_s = prompt_watch.Seconds();
    const Stopwatch generate_watch;
    if (command.batch == 1) {
      for (const int32_t id : next) sequence->Append({&id, 1}, row);
    }
    const double generate_s = generate_watch.Seconds();
    progress->Update(i + 2);
    if (i < 0) continue;
    prompt_rates.push_back(static_cast<double>(command.prompt) / prompt_s);
    if (command.generate > 0)
      generate_rates.push_back(static_cast<double>(command.generate) / generate_s);
  }
  progress.reset();
  Measured measured{.prompt = SpreadOf(prompt_rates),
                    .generate = SpreadOf(generate_rates),
                    .work = WorkOf(*bench.model, command.prompt),
                    .limits = {},
                    .expert_type = bench.model->weights.layers[0].experts[0].w1.type,
                    .fetching = {},
                    .predicted = {}};
  if (command.batch > 1 && command.generate > 0)
    measured.generate = MeasureBatch(bench, command, measured.work);
  // What it takes to measure the machine is no part of the model's memory.
  measured.peak_rss_bytes = static_cast<double>(PeakResidentMemory());
  sequence.reset();
  if (bench.session && bench.session->has_budget()) {
    measured.fetching = bench.experts->stats();
    bench.session->Unfit();
  }
  PredictRun(bench, command, process_bytes, measured);
  measured.limits =
      MeasureLimits(command.shared.isa.empty() ? DetectIsa() : ParseIsa(command.shared.isa),
                    bench.device->threads());
  return measured;
}

}  // namespace

void AddBenchCommand(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("bench", "Measure speed here, beside what the machine can do at most");
  command->footer(
      "The last layer's experts are run for the last token of a prompt only: the operations count\n"
      "that way. A first run warms up and is not counted.\n"
      "Example: cadre bench mixtral.gguf\n"
      "         cadre bench --preset mixtral-8x7b --layers 4 --type q4_k -p 512 -n 64");
  auto options = std::make_shared<BenchCommand>();
  auto* model = command->add_option("MODEL", options->model,
                                    "A model; without one, --preset makes one of random numbers");
  auto* preset = command->add_option("--preset", options->preset, "Shape of a published model")
                     ->check(CLI::IsMember(PresetNames()))
                     ->excludes(model);
  command->add_option("--layers", options->layers, "Layers to make; 0: as many as the model has")
      ->check(CLI::Range(int64_t{0}, int64_t{1024}))
      ->needs(preset);
  command->add_option("--type", options->type, "Type of the matrices that are made")
      ->needs(preset)
      ->capture_default_str();
  command->add_option("-p,--prompt", options->prompt, "Tokens of the prompt")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->capture_default_str();
  command->add_option("-n,--generate", options->generate, "Tokens to generate after it")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 20))
      ->capture_default_str();
  command->add_option("--depth", options->depth, "Tokens that stand before the prompt, not counted")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 20))
      ->capture_default_str();
  command
      ->add_option("--batch", options->batch,
                   "Sequences that generate side by side, behind --depth tokens each")
      ->check(CLI::Range(int64_t{1}, int64_t{1024}))
      ->capture_default_str();
  command->add_option("--repeat", options->repeat, "Runs; the median counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  AddRoutingFiles(*command, options->routing_files);
  AddJson(*command, options->json);
  AddModelOptions(*command, options->run);
  AddMemoryOptions(*command, options->run);
  command->get_option("--memory")->needs(model);
  AddSharedOptions(*command, options->shared);
  command->callback([options] {
    if (options->model.empty() && options->preset.empty())
      throw CLI::RequiredError("MODEL or --preset");
    const auto process_bytes = static_cast<int64_t>(ResidentMemory());
    Bench bench(*options);
    PrintResult(Measure(bench, *options, process_bytes), *options);
  });
}

}  // namespace cadre
