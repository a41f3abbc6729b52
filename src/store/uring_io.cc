#include <liburing.h>

#include <cerrno>

#include "base/error.h"
#include "store/disk_io.h"

namespace cadre {
namespace {

bool KnowsRead(io_uring& ring) {
  io_uring_probe* probe = io_uring_get_probe_ring(&ring);
  if (probe == nullptr) return false;
  const bool knows = io_uring_opcode_supported(probe, IORING_OP_READ) != 0;
  io_uring_free_probe(probe);
  return knows;
}

class UringIo : public DiskIo {
 public:
  explicit UringIo(const io_uring& ring) : ring_(ring) {}
  ~UringIo() override { io_uring_queue_exit(&ring_); }
  UringIo(const UringIo&) = delete;
  UringIo& operator=(const UringIo&) = delete;

  const char* name() const override { return "io_uring"; }

  void Submit(const DiskRead& read) override {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    CADRE_CHECK(entry != nullptr);  // the queue is as long as the depth
    io_uring_prep_read(entry, read.fd, read.to, static_cast<unsigned>(read.bytes), read.offset);
    entry->user_data = read.tag;
    io_uring_submit(&ring_);  // what it cannot take now, Wait gives it again
  }

  size_t Wait(std::span<DiskResult> results) override {
    io_uring_cqe* first = nullptr;
    while (true) {
      io_uring_submit_and_wait(&ring_, 1);
      const int error = io_uring_wait_cqe(&ring_, &first);
      if (error == 0) break;
      CADRE_CHECK(error == -EINTR || error == -EAGAIN || error == -EBUSY);
    }
    size_t count = 0;
    unsigned head = 0;
    io_uring_cqe* entry = nullptr;
    io_uring_for_each_cqe(&ring_, head, entry) {
      if (count == results.size()) break;
      results[count++] = {entry->user_data, entry->res};
    }
    io_uring_cq_advance(&ring_, static_cast<unsigned>(count));
    return count;
  }

 private:
  io_uring ring_;
};

}  // namespace

std::unique_ptr<DiskIo> TryUringIo(int depth) {
  io_uring ring{};
  if (io_uring_queue_init(static_cast<unsigned>(depth), &ring, 0) != 0) return nullptr;
  if (KnowsRead(ring)) return std::make_unique<UringIo>(ring);
  io_uring_queue_exit(&ring);
  return nullptr;
}

}  // namespace cadre
