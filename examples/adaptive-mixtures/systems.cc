#include "systems.h"

#include <base/random.h>
#include <model/router.h>
#include <ops/backward.h>
#include <tensor/buffer.h>
#include <train/losses.h>

#include <cmath>

namespace mixtures {
namespace {

constexpr int64_t kInputs = 3;
constexpr float kLearningRate = 0.02f;

// A weight matrix that learns.
class Matrix {
 public:
  Matrix(int64_t rows, int64_t cols, cadre::Random& random)
      : rows_(rows),
        cols_(cols),
        value_(rows * cols),
        gradient_(rows * cols),
        moment1_(rows * cols),
        moment2_(rows * cols) {
    for (float& w : value_.span()) w = static_cast<float>(0.3 * random.NextNormal());
  }

  int64_t size() const { return rows_ * cols_; }
  cadre::Weight weight() const {
    return {reinterpret_cast<const std::byte*>(value_.data()), cadre::DType::kF32, rows_, cols_};
  }
  cadre::Mat<const float> value() const { return value_.AsMat(rows_, cols_); }
  cadre::Mat<float> gradient() { return gradient_.AsMat(rows_, cols_); }

  void Step(cadre::BackwardOps& ops) {
    cadre::AdamWSettings settings;
    settings.learning_rate = kLearningRate;
    settings.step = ++steps_;
    ops.AdamW(value_.span(), gradient_.span(), moment1_.span(), moment2_.span(), settings);
    gradient_.Zero();
  }

 private:
  int64_t rows_, cols_;
  cadre::Buffer<float> value_, gradient_, moment1_, moment2_;
  int64_t steps_ = 0;
};

class Mixture : public System {
 public:
  Mixture(ErrorFunction error, int num_experts, cadre::Random random)
      : error_(error),
        num_experts_(num_experts),
        gate_(num_experts, kInputs, random),
        experts_(num_experts, kInputs, random) {}

  std::string name() const override {
    return error_ == ErrorFunction::kCooperative   ? "cooperative"
           : error_ == ErrorFunction::kCompetitive ? "competitive"
                                                   : "competitive, likelihood";
  }
  int64_t num_weights() const override { return gate_.size() + experts_.size(); }
  int num_experts() const override { return num_experts_; }

  void Learn(const Cases& cases) override {
    Run(cases, num_experts_);
    const int64_t t_end = cases.size(), e_end = num_experts_;
    std::vector<float> d_gates(static_cast<size_t>(t_end * e_end)), d_logits(d_gates.size(), 0),
        d_opinions(d_gates.size());
    for (int64_t t = 0; t < t_end; ++t) {
      Slopes(t, cases.target[static_cast<size_t>(t)], 1 / static_cast<double>(t_end),
             &d_gates[static_cast<size_t>(t * e_end)], &d_opinions[static_cast<size_t>(t * e_end)]);
    }
    const cadre::Mat<float> d(d_logits.data(), t_end, e_end);
    cadre::AddGateGradient(routing_, cadre::RouterSoftmax::kChosen, {d_gates.data(), t_end, e_end},
                           d);
    const cadre::Mat<const float> x(cases.x.data(), t_end, kInputs);
    ops_->MatMulBackward(x, gate_.value(), d, cadre::ActivationType::kF32, cadre::Into::kFresh, {},
                         gate_.gradient());
    ops_->MatMulBackward(x, experts_.value(), {d_opinions.data(), t_end, e_end},
                         cadre::ActivationType::kF32, cadre::Into::kFresh, {}, experts_.gradient());
    gate_.Step(*ops_);
    experts_.Step(*ops_);
  }

  Answers Ask(const Cases& cases, int experts) override {
    const int choices = experts == 0 ? num_experts_ : experts;
    Run(cases, choices);
    Answers answers;
    answers.opinion = opinions_;
    answers.gates.assign(opinions_.size(), 0);
    for (int64_t t = 0; t < cases.size(); ++t) {
      float output = 0;
      for (int64_t c = 0; c < choices; ++c) {
        const auto expert = static_cast<size_t>(t * num_experts_ + routing_.experts.row(t)[c]);
        answers.gates[expert] = routing_.gates.row(t)[c];
        output += routing_.gates.row(t)[c] * opinions_[expert];
      }
      answers.output.push_back(output);
    }
    return answers;
  }

 private:
  // The router chooses and weighs, and every expert has an opinion.
  void Run(const Cases& cases, int choices) {
    const int64_t t = cases.size();
    const cadre::Mat<const float> x(cases.x.data(), t, kInputs);
    logits_.resize(static_cast<size_t>(t * num_experts_));
    opinions_.resize(logits_.size());
    const cadre::Mat<float> logits(logits_.data(), t, num_experts_);
    device_->MatMul(x, gate_.weight(), cadre::ActivationType::kF32, logits);
    device_->MatMul(x, experts_.weight(), cadre::ActivationType::kF32,
                    {opinions_.data(), t, num_experts_});
    const cadre::RouterConfig config = {.num_experts = num_experts_, .top_k = choices};
    routing_.Reserve(t, config);
    routing_.SetTokens(t, config);
    cadre::ChooseExperts(logits, config, {}, routing_);
  }

  // The gradient of case t's error times `scale`: by choice for the gates, by expert for opinions.
  void Slopes(int64_t t, double target, double scale, float* d_gates, float* d_opinions) const {
    const int32_t* chosen = routing_.experts.row(t);
    const float* gates = routing_.gates.row(t);
    const float* opinions = &opinions_[static_cast<size_t>(t * num_experts_)];
    double blend = 0, likelihood = 0;
    for (int c = 0; c < num_experts_; ++c) {
      const double p = gates[c], miss = target - static_cast<double>(opinions[chosen[c]]);
      blend += p * static_cast<double>(opinions[chosen[c]]);
      likelihood += p * std::exp(-0.5 * miss * miss);
    }
    likelihood = std::max(likelihood, 1e-300);
    for (int c = 0; c < num_experts_; ++c) {
      const double p = gates[c], opinion = opinions[chosen[c]], miss = target - opinion;
      const double fit = std::exp(-0.5 * miss * miss) / likelihood;
      double d_p = 0, d_o = 0;
      switch (error_) {
        case ErrorFunction::kCooperative:
          d_p = -2 * (target - blend) * opinion;
          d_o = -2 * (target - blend) * p;
          break;
        case ErrorFunction::kCompetitive:
          d_p = miss * miss;
          d_o = -2 * p * miss;
          break;
        case ErrorFunction::kLikelihood:
          d_p = -fit;
          d_o = -p * fit * miss;
          break;
      }
      d_gates[c] = static_cast<float>(scale * d_p);
      d_opinions[chosen[c]] = static_cast<float>(scale * d_o);
    }
  }

  ErrorFunction error_;
  int num_experts_;
  std::unique_ptr<cadre::Device> device_ = cadre::MakeReferenceDevice();
  std::unique_ptr<cadre::BackwardOps> ops_ = cadre::MakeReferenceBackward();
  Matrix gate_, experts_;  // [E, 3]
  cadre::Routing routing_;
  std::vector<float> logits_, opinions_;  // [T, E]
};

class Network : public System {
 public:
  Network(int hidden, cadre::Random random)
      : hidden_(hidden), first_(hidden, kInputs, random), second_(1, hidden + 1, random) {}

  std::string name() const override { return "one network"; }
  int64_t num_weights() const override { return first_.size() + second_.size(); }

  void Learn(const Cases& cases) override {
    const Answers answers = Ask(cases, 0);
    const int64_t t_end = cases.size();
    std::vector<float> d_output, d_hidden(hidden_out_.size(), 0);
    for (size_t t = 0; t < answers.output.size(); ++t) {
      d_output.push_back(2 * (answers.output[t] - cases.target[t]) / static_cast<float>(t_end));
    }
    const cadre::Mat<float> d_h(d_hidden.data(), t_end, hidden_ + 1);
    ops_->MatMulBackward({hidden_out_.data(), t_end, hidden_ + 1}, second_.value(),
                         {d_output.data(), t_end, 1}, cadre::ActivationType::kF32,
                         cadre::Into::kFresh, d_h, second_.gradient());
    std::vector<float> d_in(static_cast<size_t>(t_end * hidden_));
    for (int64_t t = 0; t < t_end; ++t) {
      for (int64_t h = 0; h < hidden_; ++h) {
        const float out = hidden_out_[static_cast<size_t>(t * (hidden_ + 1) + h)];
        d_in[static_cast<size_t>(t * hidden_ + h)] = d_h.row(t)[h] * (1 - out * out);
      }
    }
    ops_->MatMulBackward({cases.x.data(), t_end, kInputs}, first_.value(),
                         {d_in.data(), t_end, hidden_}, cadre::ActivationType::kF32,
                         cadre::Into::kFresh, {}, first_.gradient());
    first_.Step(*ops_);
    second_.Step(*ops_);
  }

  Answers Ask(const Cases& cases, int) override {
    const int64_t t_end = cases.size();
    std::vector<float> in(static_cast<size_t>(t_end * hidden_));
    device_->MatMul({cases.x.data(), t_end, kInputs}, first_.weight(), cadre::ActivationType::kF32,
                    {in.data(), t_end, hidden_});
    hidden_out_.assign(static_cast<size_t>(t_end * (hidden_ + 1)), 1);  // the last is the bias
    for (int64_t t = 0; t < t_end; ++t) {
      for (int64_t h = 0; h < hidden_; ++h)
        hidden_out_[static_cast<size_t>(t * (hidden_ + 1) + h)] =
            std::tanh(in[static_cast<size_t>(t * hidden_ + h)]);
    }
    Answers answers;
    answers.output.resize(static_cast<size_t>(t_end));
    device_->MatMul({hidden_out_.data(), t_end, hidden_ + 1}, second_.weight(),
                    cadre::ActivationType::kF32, {answers.output.data(), t_end, 1});
    return answers;
  }

 private:
  int64_t hidden_;
  std::unique_ptr<cadre::Device> device_ = cadre::MakeReferenceDevice();
  std::unique_ptr<cadre::BackwardOps> ops_ = cadre::MakeReferenceBackward();
  Matrix first_, second_;          // [h, 3], [1, h + 1]
  std::vector<float> hidden_out_;  // [T, h + 1]
};

}  // namespace

std::unique_ptr<System> MakeMixture(ErrorFunction error, int num_experts, uint64_t seed) {
  return std::make_unique<Mixture>(error, num_experts, cadre::Random(seed, 1));
}

std::unique_ptr<System> MakeNetwork(int hidden, uint64_t seed) {
  return std::make_unique<Network>(hidden, cadre::Random(seed, 1));
}

double Accuracy(const Cases& cases, const Answers& answers) {
  int64_t right = 0;
  for (size_t t = 0; t < cases.target.size(); ++t)
    right += (answers.output[t] > 0) == (cases.target[t] > 0);
  return static_cast<double>(right) / static_cast<double>(cases.size());
}

}  // namespace mixtures
