#include "train/report_sections.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <vector>

#include "base/html.h"
#include "train/report_chart.h"
#include "train/report_loads.h"

namespace cadre {
namespace {

constexpr std::string_view kValid = "valid/";

using Names = std::vector<std::pair<std::string, std::string>>;  // of a figure, and its label

// The charts of a section, and which figures they have shown.
class Charts {
 public:
  Charts(const RunRecord& record, std::string& page) : record_(record), page_(page) {}

  void Begin(std::string title) {
    title_ = std::move(title);
    drawn_.clear();
  }
  // Lines by the names of their figures; those that the record does not have are left out.
  void Add(Chart chart, const Names& figures) {
    for (const auto& [name, label] : figures) {
      const Series* series = record_.Find(name);
      shown_.insert(name);
      if (series != nullptr) chart.lines.push_back({label, series, name.starts_with(kValid)});
    }
    drawn_ += LineChart(chart, record_.last_step());
  }
  // All figures whose names begin so, by what follows.
  void AddAll(Chart chart, const std::string& prefix, const std::string& label) {
    Names figures;
    for (const auto& [name, series] : record_.series()) {
      if (name.starts_with(prefix)) figures.emplace_back(name, label + name.substr(prefix.size()));
    }
    std::stable_sort(figures.begin(), figures.end(), [](const auto& a, const auto& b) {
      return a.first.size() < b.first.size();  // layer 2 before layer 10
    });
    Add(std::move(chart), figures);
  }
  void End(const std::string& rest = "") {
    if (drawn_.empty() && rest.empty()) return;
    page_ += "<section>";
    if (!drawn_.empty())
      page_ += fmt::format("<h2>{}</h2><div class=\"charts\">{}</div>", Html(title_), drawn_);
    page_ += rest + "</section>";
  }
  void Hide(const std::string& name) { shown_.insert(name); }
  bool WasShown(const std::string& name) const { return shown_.contains(name); }

 private:
  const RunRecord& record_;
  std::string& page_;
  std::string title_;
  std::string drawn_;
  std::set<std::string> shown_;
};

void AddLoss(const RunRecord& record, Charts& charts) {
  charts.Begin("Loss");
  Chart loss{.title = "Loss",
             .about =
                 "Nats per token that is learnt (of pairs: the preference loss), and all that "
                 "is added to it."};
  loss.marked_step = record.best_step();
  loss.mark = fmt::format("best validation, step {}", record.best_step());
  Names figures = {{"loss", "training, all losses"},
                   {"cross_entropy", "training"},
                   {"dpo_loss", "training"},
                   {"valid/mean_loss", "validation, mean"},
                   {"valid/loss", "validation"}};
  Names bits;
  for (const auto& [name, series] : record.series()) {
    const bool is_group =
        name.starts_with(kValid) && std::count(name.begin(), name.end(), '/') == 2;
    if (!is_group) continue;
    if (name.ends_with("/loss"))
      figures.emplace_back(name, "validation, " + name.substr(6, name.size() - 11));
    if (name.ends_with("/bits_per_byte")) bits.emplace_back(name, name.substr(6, name.size() - 20));
  }
  charts.Add(std::move(loss), figures);
  charts.Add({.title = "Bits per byte",
              .about = "Of the validation texts: comparable between tokenizers."},
             bits);
  charts.End();
}

void AddLearning(Charts& charts) {
  charts.Begin("Steps");
  charts.Add({.title = "Learning rate", .about = "Of each step.", .from_zero = true},
             {{"lr", "learning rate"}});
  charts.Add({.title = "Gradient norm",
              .about = "Of the whole gradient, before it is clipped.",
              .logarithmic = true},
             {{"grad_norm", "gradient norm"}});
  charts.Add({.title = "Speed", .about = "Tokens per second.", .from_zero = true},
             {{"tokens_per_s", "tokens per second"}});
  charts.End();
}

void AddPreferences(Charts& charts) {
  charts.Begin("Preferences");
  charts.Add(
      {.title = "Margin", .about = "How much more reward chosen answers have than rejected ones."},
      {{"rewards/margins", "training"}, {"valid/rewards/margins", "held back"}});
  charts.Add({.title = "Accuracy",
              .about = "Share of pairs whose chosen answer has the higher reward.",
              .from_zero = true},
             {{"rewards/accuracies", "training"},
              {"valid/rewards/accuracies", "held back"},
              {"valid/accuracy_95/0", "95 % interval, low"},
              {"valid/accuracy_95/1", "high"}});
  charts.Add({.title = "Rewards",
              .about = "beta times how much likelier an answer is than to the reference."},
             {{"rewards/chosen", "chosen, training"},
              {"rewards/rejected", "rejected, training"},
              {"valid/rewards/chosen", "chosen, held back"},
              {"valid/rewards/rejected", "rejected, held back"}});
  charts.Add(
      {.title = "Log-probabilities",
       .about = "Of whole answers, in nats. Where the chosen ones fall too, the margin grows "
                "by likelihood displacement."},
      {{"logps/chosen", "chosen, training"},
       {"logps/rejected", "rejected, training"},
       {"valid/logps/chosen", "chosen, held back"},
       {"valid/logps/rejected", "rejected, held back"}});
  charts.End();
}

void AddRouters(const RunRecord& record, Charts& charts) {
  charts.Begin("Routers");
  if (record.Find("load_entropy/0") != nullptr || record.Find("load_entropy/mean") != nullptr) {
    charts.Add({.title = "Balance loss", .about = "Lower is more even."}, {{"balance", "balance"}});
  }
  charts.AddAll({.title = "Entropy of the load",
                 .about = "1: every expert gets as much; 0: one gets all. Below a half a layer has "
                          "collapsed."},
                "load_entropy/", "layer ");
  charts.AddAll({.title = "Dropped choices",
                 .about = "Share of a layer's choices that found their expert full.",
                 .from_zero = true},
                "drop_rate/", "layer ");
  charts.Add({.title = "Importance and load losses",
              .about = "Squared variation of the experts' gates and loads.",
              .from_zero = true},
             {{"importance", "importance"}, {"load", "load"}});
  charts.Add({.title = "Router z loss", .about = "Mean of logsumexp(logits)^2."}, {{"z", "z"}});
  charts.Add({.title = "Anchor",
              .about = "Divergence of the routers from those of the model before, in nats.",
              .from_zero = true},
             {{"anchor", "divergence"}});
  charts.Add({.title = "Drift",
              .about = "Share of tokens that choose other experts than before the tuning.",
              .from_zero = true},
             {{"valid/router_drift/changed", "mean of the layers"},
              {"valid/router_drift/layers/least", "least of a layer"},
              {"valid/router_drift/layers/most", "most of a layer"}});
  charts.AddAll({.title = "Drift by layer",
                 .about = "Share of tokens that choose other experts than before the tuning.",
                 .from_zero = true},
                "valid/router_drift/layers/", "layer ");
  const std::string maps = LoadMaps(record.load());
  charts.End(maps.empty() ? "" : "<h2>Load of the experts</h2>" + maps);
}

// What a record has beyond what is known here.
void AddOthers(const RunRecord& record, Charts& charts) {
  for (const char* known : {"tokens", "samples", "pairs", "epoch", "trained_tokens", "score"})
    charts.Hide(known);
  charts.Begin("Other figures");
  charts.AddAll({.title = "Tokens by source", .about = "Seen so far.", .from_zero = true},
                "tokens_of/", "");
  constexpr size_t kMost = 24;
  size_t shown = 0;
  for (const auto& [name, series] : record.series()) {
    if (name.starts_with(kValid) || charts.WasShown(name) || shown == kMost) continue;
    charts.Add({.title = name, .about = ""}, {{name, name}});
    ++shown;
  }
  charts.End();
}

}  // namespace

std::string ReportSections(const RunRecord& record) {
  std::string page;
  Charts charts(record, page);
  AddLoss(record, charts);
  if (record.Find("dpo_loss") != nullptr) AddPreferences(charts);
  AddLearning(charts);
  AddRouters(record, charts);
  AddOthers(record, charts);
  return page;
}

}  // namespace cadre
