// Brings matrices from files into memory: read in pieces, several under way, each packed or copied
// into place as it arrives, on a thread of its own. So a matrix never lies in memory in both forms,
// and when its last piece has come all the others are in place. What is needed now goes before what
// is only guessed. Measures how fast needed bytes come. Knows nothing of models.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/huge_memory.h"
#include "ops/device.h"
#include "store/disk_io.h"
#include "store/weight_files.h"
#include "tensor/weight.h"

namespace cadre {

// A matrix in a file and where it shall be.
struct MatrixLoad {
  Weight shape;  // type, rows and cols count
  WeightFiles::Place from;
  bool packs = false;       // as the device packs it, else as it is stored
  std::byte* to = nullptr;  // room for PackedBytes(shape), else shape.bytes()
};

enum class Urgency {
  kNeeded,   // somebody waits for it, or soon will
  kGuessed,  // likely to be needed next
  kBehind,   // was needed, and nobody waits any more
};

// Some matrices that are brought together. Its address must not change while it is being loaded.
class Load {
 public:
  std::array<MatrixLoad, 3> matrices;
  int num_matrices = 0;

 private:
  friend class Loader;
  enum class State { kIdle, kLoading, kDone, kFailed };
  State state_ = State::kIdle;
  Urgency urgency_ = Urgency::kNeeded;
  int next_matrix_ = 0;  // where the next piece begins
  int64_t next_row_ = 0;
  int pieces_ = 0;          // under way
  int64_t bytes_left_ = 0;  // not in place
  std::string error_;
};

struct LoaderOptions {
  size_t piece_bytes = size_t{2} << 20;  // read at a time, a multiple of kDirectAlignment
  int depth = 8;                         // pieces under way
};

// Thread-safe, but that one thread at a time deals with a Load.
class Loader {
 public:
  // Pieces of guesses and of what nothing waits for that are under way at most: what is needed must
  // not wait for many.
  static constexpr int kOthersDepth = 2;
  // The smallest piece that holds kPackRows rows wherever they lie in the file.
  static size_t LeastPieceBytes(int64_t row_bytes);

  // packer: of this loader's thread alone. What it is given must outlive it.
  Loader(WeightFiles& files, std::unique_ptr<DiskIo> io, Device& packer,
         const LoaderOptions& options);
  ~Loader();  // gives up what is not loaded
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // Begins; what was in its memory before is lost. Until it is done or given up it must stay.
  void Start(Load& load, Urgency urgency);
  // Of a load that was not needed at first and turns out to be.
  void Promote(Load& load);
  // Gives the load up, whatever has become of it; its memory is not touched any more.
  void Cancel(Load& load);
  bool IsLoading(const Load& load) const;
  bool IsDone(const Load& load) const;
  // Returns when all is in place. Throws Error naming the file and the byte where reading failed,
  // or the file that is not what it was; the load can be started again then.
  void Wait(Load& load);

  int64_t bytes_read() const;  // since the beginning
  // Of a load that has begun: what is still to come.
  int64_t BytesLeft(const Load& load) const;
  // Bytes per second at which needed loads have come of late, packing and all; 0: none has yet.
  double NeededRate() const;

 private:
  struct Piece {
    Load* load = nullptr;  // null: free, or nobody wants it any more
    int matrix = 0;
    int64_t row = 0, rows = 0;
    uint64_t begin = 0;  // of its bytes in the file, with what direct reads want before them
    uint64_t end = 0;    // and the end of what is needed
    uint64_t got = 0;
    bool direct = false;  // how it is being read
    std::byte* staging = nullptr;
  };

  void Work();
  Load* NextLoad();
  void Queue(Load& load);
  void Unqueue(Load& load);
  void BeginPieces();
  void Begin(Load& load);
  void Read(Piece& piece);
  void Finish(Piece& piece, int64_t result, std::unique_lock<std::mutex>& lock);
  bool TakeIn(Piece& piece, int64_t result);
  std::string CannotRead(const Piece& piece, int file, int error) const;
  std::string Ends(const Piece& piece, int file) const;
  void Place(const Piece& piece, const MatrixLoad& matrix);
  void Complete(Load& load);
  void Fail(Load& load, std::string error);
  void CountNeeded(int change);
  void EndNeeded(const Load& load);
  void LetGo(Piece& piece);
  void LetGoOf(Load& load);

  WeightFiles& files_;
  const std::unique_ptr<DiskIo> io_;
  Device& packer_;
  const LoaderOptions options_;
  const HugeMemory staging_;

  mutable std::mutex mutex_;  // guards what follows, and the private part of every load
  std::condition_variable wake_;
  std::condition_variable changed_;           // of a load
  std::array<std::vector<Load*>, 3> queues_;  // by urgency: loads with pieces to begin
  std::vector<Piece> pieces_;
  std::vector<Piece*> free_pieces_;
  const Load* placing_ = nullptr;  // its memory is being written
  int under_way_ = 0;
  int others_under_way_ = 0;  // pieces of loads that are not needed
  int64_t bytes_read_ = 0;
  int needed_loads_ = 0;     // being loaded
  Stopwatch needed_since_;   // if there are any
  double needed_s_ = 0;      // in which there were some, the older the less
  double needed_bytes_ = 0;  // that came in that time, likewise
  bool stop_ = false;

  std::thread thread_;
};

}  // namespace cadre
