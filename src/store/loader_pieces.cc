// What becomes of one piece: cut, read, read on where a read was short, put in its place.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "store/loader.h"

namespace cadre {
namespace {

constexpr uint64_t kAlignment = WeightFiles::kDirectAlignment;

uint64_t AlignDown(uint64_t offset) { return offset / kAlignment * kAlignment; }
uint64_t AlignUp(uint64_t offset) { return AlignDown(offset + kAlignment - 1); }

}  // namespace

size_t Loader::LeastPieceBytes(int64_t row_bytes) {
  // Before and behind the rows there may be parts of a block that direct reads take whole.
  return AlignUp(static_cast<uint64_t>(Device::kPackRows * row_bytes)) + 2 * kAlignment;
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
  if (load.urgency_ != Urgency::kNeeded) ++others_under_way_;
  Read(piece);
}

// What is still missing of the piece.
void Loader::Read(Piece& piece) {
  const int file = piece.load->matrices[static_cast<size_t>(piece.matrix)].from.file;
  piece.direct = files_.is_direct(file);
  const uint64_t begin = piece.begin + piece.got;
  const uint64_t end = piece.direct ? AlignUp(piece.end) : piece.end;
  ++under_way_;
  io_->Submit({.fd = files_.fd(file),
               .offset = begin,
               .to = piece.staging + piece.got,
               .bytes = end - begin,
               .tag = static_cast<uint64_t>(&piece - pieces_.data())});
}

void Loader::Finish(Piece& piece, int64_t result, std::unique_lock<std::mutex>& lock) {
  --under_way_;
  if (piece.load == nullptr || stop_) return LetGo(piece);
  Load& load = *piece.load;
  const MatrixLoad& matrix = load.matrices[static_cast<size_t>(piece.matrix)];
  const int file = matrix.from.file;
  if (result == -EINVAL && piece.direct) {  // not on this file system
    files_.UseBuffered(file);
    return Read(piece);
  }
  if (result == -EINTR || result == -EAGAIN) return Read(piece);
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
  if (is_wanted) {
    const int64_t bytes = piece.rows * matrix.shape.row_bytes();
    load.bytes_left_ -= bytes;
    if (load.urgency_ == Urgency::kNeeded) needed_bytes_ += static_cast<double>(bytes);
  }
  LetGo(piece);
  if (!is_wanted) {
    changed_.notify_all();  // somebody waits to have the memory back
  } else if (load.pieces_ == 0 && load.next_matrix_ == load.num_matrices) {
    Complete(load);
  }
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
  if (!piece.direct) return false;
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

}  // namespace cadre
