#include "store/loader.h"

#include <algorithm>

#include "base/error.h"

namespace cadre {
namespace {

constexpr double kRateSeconds = 1;  // of reading, after which what was measured counts half

}  // namespace

Loader::Loader(WeightFiles& files, std::unique_ptr<DiskIo> io, Device& packer,
               const LoaderOptions& options)
    : files_(files),
      io_(std::move(io)),
      packer_(packer),
      options_(options),
      staging_(options.piece_bytes * static_cast<size_t>(options.depth)),
      pieces_(static_cast<size_t>(options.depth)) {
  CADRE_CHECK(options.depth > 0 && options.piece_bytes % WeightFiles::kDirectAlignment == 0);
  for (size_t i = 0; i < pieces_.size(); ++i) {
    pieces_[i].staging = staging_.data() + i * options.piece_bytes;
    free_pieces_.push_back(&pieces_[i]);
  }
  thread_ = std::thread([this] { Work(); });
}

Loader::~Loader() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Loader::Start(Load& load, Urgency urgency) {
  const std::lock_guard lock(mutex_);
  CADRE_CHECK(load.state_ != Load::State::kLoading && load.num_matrices > 0);
  int64_t bytes = 0;
  for (int i = 0; i < load.num_matrices; ++i) {
    const MatrixLoad& matrix = load.matrices[static_cast<size_t>(i)];
    CADRE_CHECK(LeastPieceBytes(matrix.shape.row_bytes()) <= options_.piece_bytes);
    bytes += matrix.shape.bytes();
  }
  load.state_ = Load::State::kLoading;
  load.urgency_ = urgency;
  load.bytes_left_ = bytes;
  if (urgency == Urgency::kNeeded) CountNeeded(1);
  load.next_matrix_ = 0;
  load.next_row_ = 0;
  Queue(load);
}

void Loader::Promote(Load& load) {
  const std::lock_guard lock(mutex_);
  if (load.state_ != Load::State::kLoading || load.urgency_ == Urgency::kNeeded) return;
  const bool queued = load.next_matrix_ < load.num_matrices;
  if (queued) Unqueue(load);
  others_under_way_ -= load.pieces_;
  load.urgency_ = Urgency::kNeeded;
  CountNeeded(1);
  if (queued) Queue(load);
}

void Loader::Cancel(Load& load) {
  std::unique_lock lock(mutex_);
  if (load.state_ == Load::State::kLoading) {
    LetGoOf(load);
    EndNeeded(load);
  }
  load.state_ = Load::State::kIdle;
  changed_.wait(lock, [&] { return placing_ != &load; });
}

bool Loader::IsLoading(const Load& load) const {
  const std::lock_guard lock(mutex_);
  return load.state_ == Load::State::kLoading;
}

bool Loader::IsDone(const Load& load) const {
  const std::lock_guard lock(mutex_);
  return load.state_ == Load::State::kDone;
}

void Loader::Wait(Load& load) {
  std::unique_lock lock(mutex_);
  CADRE_CHECK(load.state_ != Load::State::kIdle);
  changed_.wait(lock, [&] { return load.state_ != Load::State::kLoading; });
  if (load.state_ == Load::State::kDone) return;
  load.state_ = Load::State::kIdle;
  throw Error("{}", load.error_);
}

int64_t Loader::bytes_read() const {
  const std::lock_guard lock(mutex_);
  return bytes_read_;
}

int64_t Loader::BytesLeft(const Load& load) const {
  const std::lock_guard lock(mutex_);
  return load.bytes_left_;
}

double Loader::NeededRate() const {
  const std::lock_guard lock(mutex_);
  const double seconds = needed_s_ + (needed_loads_ > 0 ? needed_since_.Seconds() : 0);
  return seconds > 0 ? needed_bytes_ / seconds : 0;
}

// Measures the time in which something needed is being loaded.
void Loader::CountNeeded(int change) {
  if (needed_loads_ == 0) needed_since_ = Stopwatch();
  needed_loads_ += change;
  if (needed_loads_ > 0) return;
  needed_s_ += needed_since_.Seconds();
  if (needed_s_ < kRateSeconds) return;
  needed_s_ /= 2;
  needed_bytes_ /= 2;
}

void Loader::EndNeeded(const Load& load) {
  if (load.urgency_ == Urgency::kNeeded) CountNeeded(-1);
}

void Loader::Queue(Load& load) {
  queues_[static_cast<size_t>(load.urgency_)].push_back(&load);
  wake_.notify_one();
}

void Loader::Unqueue(Load& load) { std::erase(queues_[static_cast<size_t>(load.urgency_)], &load); }

// Few pieces of others at a time: what is needed must not wait for many of them.
Load* Loader::NextLoad() {
  if (free_pieces_.empty()) return nullptr;
  if (!queues_[0].empty()) return queues_[0].front();
  if (others_under_way_ >= kOthersDepth) return nullptr;
  for (const auto* queue : {&queues_[1], &queues_[2]})
    if (!queue->empty()) return queue->front();
  return nullptr;
}

void Loader::Work() {
  std::vector<DiskResult> results(pieces_.size());
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [&] { return stop_ || under_way_ > 0 || NextLoad() != nullptr; });
    BeginPieces();
    if (under_way_ == 0) {
      if (stop_) return;
      continue;
    }
    lock.unlock();
    const size_t count = io_->Wait(results);
    lock.lock();
    for (size_t i = 0; i < count; ++i) {
      Finish(pieces_[static_cast<size_t>(results[i].tag)], results[i].bytes, lock);
      BeginPieces();  // at once: the disk must not wait for the others to be placed
    }
  }
}

void Loader::BeginPieces() {
  while (!stop_) {
    Load* load = NextLoad();
    if (load == nullptr) return;
    Begin(*load);
  }
}

void Loader::Complete(Load& load) {
  for (int i = 0; i < load.num_matrices; ++i) {
    const int file = load.matrices[static_cast<size_t>(i)].from.file;
    if (const auto change = files_.Change(file))
      return Fail(load, fmt::format("{}: {}", files_.name(file), *change));
  }
  load.state_ = Load::State::kDone;
  EndNeeded(load);
  changed_.notify_all();
}

void Loader::Fail(Load& load, std::string error) {
  LetGoOf(load);
  EndNeeded(load);
  load.state_ = Load::State::kFailed;
  load.error_ = std::move(error);
  changed_.notify_all();
}

// A piece that has come.
void Loader::LetGo(Piece& piece) {
  if (piece.load != nullptr) {
    --piece.load->pieces_;
    if (piece.load->urgency_ != Urgency::kNeeded) --others_under_way_;
  }
  piece.load = nullptr;
  free_pieces_.push_back(&piece);
}

// Its pieces belong to nobody now; those under way become free when they come.
void Loader::LetGoOf(Load& load) {
  Unqueue(load);
  if (load.urgency_ != Urgency::kNeeded) others_under_way_ -= load.pieces_;
  load.pieces_ = 0;
  for (Piece& piece : pieces_)
    if (piece.load == &load) piece.load = nullptr;
}

}  // namespace cadre
