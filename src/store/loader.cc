#include "store/loader.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace cadre {
namespace {

constexpr uint64_t kAlignment = WeightFiles::kDirectAlignment;

constexpr int kGuessedDepth = 2;

uint64_t AlignDown(uint64_t offset) { return offset / kAlignment * kAlignment; }
uint64_t AlignUp(uint64_t offset) { return AlignDown(offset + kAlignment - 1); }

}  // namespace

size_t Loader::LeastPieceBytes(int64_t row_bytes) {
  // Before and behind the rows there may be parts of a block that direct reads take whole.
  return AlignUp(static_cast<uint64_t>(Device::kPackRows * row_bytes)) + 2 * kAlignment;
}

Loader::Loader(WeightFiles& files, std::unique_ptr<DiskIo> io, Device& packer,
               const LoaderOptions& options)
    : files_(files),
      io_(std::move(io)),
      packer_(packer),
      options_(options),
      staging_(options.piece_bytes * static_cast<size_t>(options.depth)),
      pieces_(static_cast<size_t>(options.depth)) {
  CADRE_CHECK(options.depth > 0 && options.piece_bytes % kAlignment == 0);
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
  for (int i = 0; i < load.num_matrices; ++i) {
    const MatrixLoad& matrix = load.matrices[static_cast<size_t>(i)];
    CADRE_CHECK(LeastPieceBytes(matrix.shape.row_bytes()) <= options_.piece_bytes);
  }
  load.state_ = Load::State::kLoading;
  load.urgency_ = urgency;
  load.next_matrix_ = 0;
  load.next_row_ = 0;
  Queue(load);
}

void Loader::Promote(Load& load) {
  const std::lock_guard lock(mutex_);
  if (load.state_ != Load::State::kLoading || load.urgency_ == Urgency::kNeeded) return;
  const bool queued = load.next_matrix_ < load.num_matrices;
  if (queued) Unqueue(load);
  guessed_under_way_ -= load.pieces_;
  load.urgency_ = Urgency::kNeeded;
  if (queued) Queue(load);
}

void Loader::Cancel(Load& load) {
  std::unique_lock lock(mutex_);
  if (load.state_ == Load::State::kLoading) LetGoOf(load);
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

void Loader::Queue(Load& load) {
  queues_[static_cast<size_t>(load.urgency_)].push_back(&load);
  wake_.notify_one();
}

void Loader::Unqueue(Load& load) { std::erase(queues_[static_cast<size_t>(load.urgency_)], &load); }

// Few pieces of guesses at a time: what is needed must not wait for many of them.
Load* Loader::NextLoad() {
  if (free_pieces_.empty()) return nullptr;
  if (!queues_[0].empty()) return queues_[0].front();
  if (!queues_[1].empty() && guessed_under_way_ < kGuessedDepth) return queues_[1].front();
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

// The next rows of the load, as many as the staging memory holds.
void Loader::Begin(Load& load) {
  const MatrixLoad& matrix = load.matrices[static_cast<size_t>(load.next_matrix_)];
  const auto row_bytes = static_cast<uint64_t>(matrix.shape.row_bytes());
  const auto most = static_cast<int64_t>((options_.piece_bytes - 2 * kAlignment) / row_bytes);
  Piece& piece = *free_pieces_.back();
  free_pieces_.pop_back();
  piece.load = &load;
  piece.matrix = load.next_matrix_;
  piece.row = load.next_row_;
  piece.rows =
      std::min(most / Device::kPackRows * Device::kPackRows, matrix.shape.rows - piece.row);
  piece.begin = AlignDown(matrix.from.offset + static_cast<uint64_t>(piece.row) * row_bytes);
  piece.end = matrix.from.offset + static_cast<uint64_t>(piece.row + piece.rows) * row_bytes;
  piece.got = 0;
  load.next_row_ += piece.rows;
  if (load.next_row_ == matrix.shape.rows) {
    load.next_row_ = 0;
    if (++load.next_matrix_ == load.num_matrices) Unqueue(load);
  }
  ++load.pieces_;
  if (load.urgency_ == Urgency::kGuessed) ++guessed_under_way_;
  Read(piece);
}

// What is still missing of the piece.
void Loader::Read(Piece& piece) {
  const int file = piece.load->matrices[static_cast<size_t>(piece.matrix)].from.file;
  const uint64_t begin = piece.begin + piece.got;
  const uint64_t end = files_.is_direct(file) ? AlignUp(piece.end) : piece.end;
  ++under_way_;
  io_->Submit({.fd = files_.fd(file),
               .offset = begin,
               .to = piece.staging + piece.got,
               .bytes = end - begin,
               .tag = static_cast<uint64_t>(&piece - pieces_.data())});
}

// Whether direct reads are what this file's system refuses.
bool Loader::Refused(const Piece& piece, int64_t result) {
  const int file = piece.load->matrices[static_cast<size_t>(piece.matrix)].from.file;
  if (result != -EINVAL || !files_.is_direct(file)) return false;
  files_.UseBuffered(file);
  return true;
}

void Loader::Finish(Piece& piece, int64_t result, std::unique_lock<std::mutex>& lock) {
  --under_way_;
  if (piece.load == nullptr || stop_) return LetGo(piece);
  Load& load = *piece.load;
  const MatrixLoad& matrix = load.matrices[static_cast<size_t>(piece.matrix)];
  const int file = matrix.from.file;
  if (result == -EINTR || result == -EAGAIN || Refused(piece, result)) return Read(piece);
  if (result <= 0) {
    Fail(load, result < 0 ? CannotRead(piece, file, static_cast<int>(-result)) : Ends(piece, file));
    return LetGo(piece);
  }
  bytes_read_ += result;
  if (!TakeIn(piece, result)) return Read(piece);
  placing_ = &load;
  lock.unlock();
  Place(piece, matrix);
  lock.lock();
  placing_ = nullptr;
  const bool is_wanted = piece.load != nullptr;
  LetGo(piece);
  if (is_wanted && load.pieces_ == 0 && load.next_matrix_ == load.num_matrices) Complete(load);
  changed_.notify_all();
}

std::string Loader::CannotRead(const Piece& piece, int file, int error) const {
  return fmt::format("{}: cannot be read at byte {}: {}", files_.name(file),
                     piece.begin + piece.got, std::strerror(error));
}

std::string Loader::Ends(const Piece& piece, int file) const {
  return fmt::format("{}: ends at byte {} but the weights go on to byte {}: it was cut",
                     files_.name(file), piece.begin + piece.got, piece.end);
}

// Counts what has come of the piece. Returns whether that is all of it.
bool Loader::TakeIn(Piece& piece, int64_t result) {
  const int file = piece.load->matrices[static_cast<size_t>(piece.matrix)].from.file;
  const uint64_t before = piece.got;
  piece.got += static_cast<uint64_t>(result);
  if (piece.begin + piece.got >= piece.end) return true;
  if (!files_.is_direct(file)) return false;
  if (AlignDown(piece.got) == before) {  // not even a block: blocks would never get it on
    files_.UseBuffered(file);
  } else {
    piece.got = AlignDown(piece.got);
  }
  return false;
}

// Where the rows belong, as they are wanted.
void Loader::Place(const Piece& piece, const MatrixLoad& matrix) {
  const auto row_bytes = static_cast<uint64_t>(matrix.shape.row_bytes());
  const uint64_t first = matrix.from.offset + static_cast<uint64_t>(piece.row) * row_bytes;
  const Weight rows = {.data = piece.staging + (first - piece.begin),
                       .type = matrix.shape.type,
                       .rows = piece.rows,
                       .cols = matrix.shape.cols};
  Weight before = rows;
  before.rows = piece.row;
  if (matrix.packs) {
    packer_.Pack(rows, matrix.to + packer_.PackedBytes(before));
  } else {
    std::memcpy(matrix.to + before.bytes(), rows.data, static_cast<size_t>(rows.bytes()));
  }
}

void Loader::Complete(Load& load) {
  for (int i = 0; i < load.num_matrices; ++i) {
    const int file = load.matrices[static_cast<size_t>(i)].from.file;
    if (const auto change = files_.Change(file))
      return Fail(load, fmt::format("{}: {}", files_.name(file), *change));
  }
  load.state_ = Load::State::kDone;
}

void Loader::Fail(Load& load, std::string error) {
  LetGoOf(load);
  load.state_ = Load::State::kFailed;
  load.error_ = std::move(error);
  changed_.notify_all();
}

// A piece that has come.
void Loader::LetGo(Piece& piece) {
  if (piece.load != nullptr) {
    --piece.load->pieces_;
    if (piece.load->urgency_ == Urgency::kGuessed) --guessed_under_way_;
  }
  piece.load = nullptr;
  free_pieces_.push_back(&piece);
}

// Its pieces belong to nobody now; those under way become free when they come.
void Loader::LetGoOf(Load& load) {
  Unqueue(load);
  if (load.urgency_ == Urgency::kGuessed) guessed_under_way_ -= load.pieces_;
  load.pieces_ = 0;
  for (Piece& piece : pieces_)
    if (piece.load == &load) piece.load = nullptr;
}

}  // namespace cadre
