#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "base/log.h"
#include "store/disk_io.h"

namespace cadre {
namespace {

class ThreadIo : public DiskIo {
 public:
  explicit ThreadIo(int depth) {
    asked_.reserve(static_cast<size_t>(depth));
    ended_.reserve(static_cast<size_t>(depth));
    for (int i = 0; i < depth; ++i) threads_.emplace_back([this] { Work(); });
  }
  ~ThreadIo() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    asks_.notify_all();
    for (auto& thread : threads_) thread.join();
  }

  const char* name() const override { return "threads"; }

  void Submit(const DiskRead& read) override {
    {
      const std::lock_guard lock(mutex_);
      asked_.push_back(read);
    }
    asks_.notify_one();
  }

  size_t Wait(std::span<DiskResult> results) override {
    std::unique_lock lock(mutex_);
    ends_.wait(lock, [&] { return !ended_.empty(); });
    const size_t count = std::min(results.size(), ended_.size());
    std::copy_n(ended_.begin(), count, results.begin());
    ended_.erase(ended_.begin(), ended_.begin() + static_cast<std::ptrdiff_t>(count));
    return count;
  }

 private:
  void Work() {
    std::unique_lock lock(mutex_);
    while (true) {
      asks_.wait(lock, [&] { return stop_ || !asked_.empty(); });
      if (stop_) return;
      const DiskRead read = asked_.front();
      asked_.erase(asked_.begin());
      lock.unlock();
      const ssize_t got = pread(read.fd, read.to, read.bytes, static_cast<off_t>(read.offset));
      const int64_t result = got < 0 ? -errno : got;
      lock.lock();
      ended_.push_back({read.tag, result});
      ends_.notify_one();
    }
  }

  std::mutex mutex_;  // guards what follows
  std::condition_variable asks_;
  std::condition_variable ends_;
  std::vector<DiskRead> asked_;
  std::vector<DiskResult> ended_;
  bool stop_ = false;

  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<DiskIo> MakeThreadIo(int depth) { return std::make_unique<ThreadIo>(depth); }

std::unique_ptr<DiskIo> MakeDiskIo(int depth, const DiskIoMaker& try_uring) {
  if (auto uring = try_uring(depth)) return uring;
  log::info("io_uring is not allowed here: {} threads read instead", depth);
  return MakeThreadIo(depth);
}

}  // namespace cadre
