#include "hub/download.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "base/error.h"
#include "hub/http.h"
#include "hub/partial_file.h"

namespace cadre {
namespace {

constexpr double kMaxWaitS = 60;
constexpr double kMaxRetryAfterS = 600;

bool MayHelpToTryAgain(const HttpResult& result) {
  return !result.problem.empty() || result.status == 0 || result.status == 408 ||
         result.status == 429 || result.status >= 500;
}

// What the server asked to wait; 0 where it did not.
double RetryAfterS(const HttpResult& result) {
  const auto found = result.headers.find("retry-after");
  if (found == result.headers.end()) return 0;
  return std::clamp(std::atof(found->second.c_str()), 0.0, kMaxRetryAfterS);
}

// One file on its way.
struct Transfer {
  explicit Transfer(const Download& wanted) : download(wanted), partial(wanted.path, wanted.file) {}
  const Download& download;
  PartialFile partial;
  size_t missing = 0;  // chunks
};

// What all connections share.
class Queue {
 public:
  Queue(const std::vector<Download>& downloads, const DownloadOptions& options)
      : options_(options) {
    for (const auto& download : downloads) total_bytes_ += download.file.size;
    for (const auto& download : downloads) pending_.push_back(&download);
  }

  struct Chunk {
    std::shared_ptr<Transfer> transfer;
    size_t index;
  };

  bool Stopped() const {
    return failed_ || (options_.stop != nullptr && options_.stop->load(std::memory_order_relaxed));
  }

  // The next chunk to fetch; none when there is nothing left to begin.
  std::optional<Chunk> Next() {
    std::unique_lock lock(mutex_);
    while (!Stopped()) {
      if (!chunks_.empty()) {
        const Chunk chunk = chunks_.front();
        chunks_.pop_front();
        return chunk;
      }
      if (!pending_.empty()) {
        Begin(lock);
      } else if (opening_ > 0) {
        wake_.wait_for(lock, std::chrono::milliseconds(100));
      } else {
        break;
      }
    }
    return std::nullopt;
  }

  void Arrived(uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    Count(bytes);
  }

  // True when that was the last chunk of its file.
  bool MarkArrived(const Chunk& chunk) {
    const std::lock_guard lock(mutex_);
    chunk.transfer->partial.MarkArrived(chunk.index);
    return --chunk.transfer->missing == 0;
  }

  void Fail(std::exception_ptr error) {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(error);
    failed_ = true;
    wake_.notify_all();
  }

  // Waits, unless something ends the download.
  void Wait(double seconds) {
    std::unique_lock lock(mutex_);
    const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (!Stopped() && std::chrono::steady_clock::now() < until) {
      wake_.wait_for(lock, std::chrono::milliseconds(100));
    }
  }

  void Rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void Count(uint64_t bytes) {
    done_bytes_ += bytes;
    if (options_.on_progress) options_.on_progress(done_bytes_, total_bytes_);
  }

  // Opens the next file and queues what it lacks. A file that is there already is read once for its
  // checksum, meanwhile others go on.
  void Begin(std::unique_lock<std::mutex>& lock) {
    const Download& download = *pending_.front();
    pending_.pop_front();
    ++opening_;
    lock.unlock();
    std::shared_ptr<Transfer> transfer;
    if (!HasContent(download.path, download.file)) {
      transfer = std::make_shared<Transfer>(download);
      for (size_t i = 0; i < transfer->partial.num_chunks(); ++i)
        transfer->missing += transfer->partial.arrived(i) ? 0 : 1;
      if (transfer->missing == 0) transfer->partial.Finish();
    }
    lock.lock();
    --opening_;
    wake_.notify_all();
    if (!transfer || transfer->missing == 0) return Count(download.file.size);
    Count(transfer->partial.arrived_bytes());
    for (size_t i = 0; i < transfer->partial.num_chunks(); ++i)
      if (!transfer->partial.arrived(i)) chunks_.push_back({transfer, i});
  }

  const DownloadOptions& options_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<const Download*> pending_;
  std::deque<Chunk> chunks_;
  int opening_ = 0;  // files being looked at
  uint64_t done_bytes_ = 0, total_bytes_ = 0;
  std::exception_ptr error_;
  std::atomic<bool> failed_ = false;
};

// One connection.
class Worker {
 public:
  Worker(Queue& queue, const DownloadOptions& options)
      : queue_(queue), options_(options), client_([&queue] { return queue.Stopped(); }) {}

  void Run() {
    while (const auto chunk = queue_.Next()) {
      if (!Fetch(*chunk)) return;
      if (queue_.MarkArrived(*chunk)) chunk->transfer->partial.Finish();
    }
  }

 private:
  // False when stopped.
  bool Fetch(const Queue::Chunk& chunk) {
    Transfer& transfer = *chunk.transfer;
    const auto range = transfer.partial.range(chunk.index);
    uint64_t begin = range.first;
    const uint64_t end = range.second;
    const bool whole_file = begin == 0 && end == transfer.download.file.size;
    for (int fruitless = 0; begin < end;) {
      if (queue_.Stopped()) return false;
      HttpGet request{.url = transfer.download.url, .token = options_.token, .range = {}};
      if (!whole_file || begin > 0) request.range = {begin, end};
      const uint64_t before = begin;
      const HttpResult result = client_.Get(request, [&](std::span<const std::byte> bytes) {
        if (bytes.size() > end - begin) {
          throw Error("{}: is longer than the {} bytes the hub says", transfer.download.file.path,
                      transfer.download.file.size);
        }
        transfer.partial.Write(begin, bytes);
        begin += bytes.size();
        queue_.Arrived(bytes.size());
        return !queue_.Stopped();
      });
      if (begin == end) return true;
      if (queue_.Stopped()) return false;
      fruitless = begin > before ? 0 : fruitless + 1;
      GiveUpOrWait(transfer.download, result, request, fruitless);
    }
    return true;
  }

  void GiveUpOrWait(const Download& download, const HttpResult& result, const HttpGet& request,
                    int fruitless) {
    const std::string from = fmt::format("{} (from {})", download.file.path, result.location);
    if (!MayHelpToTryAgain(result)) {
      if (result.status == 200 && request.range)
        throw Error("{}: the server sends whole files only, no parts", from);
      if (result.ok())
        throw Error("{}: is shorter than the {} bytes the hub says", from, download.file.size);
      throw Error("{}: {}", from, Explain(result.status, !options_.token.empty()));
    }
    if (fruitless >= kMaxFruitlessTries) {
      throw Error("{}: given up after {} tries that brought nothing: {}", from, fruitless,
                  !result.problem.empty() ? result.problem
                                          : Explain(result.status, !options_.token.empty()));
    }
    const double backoff =
        fruitless == 0 ? 0.05 : options_.retry_wait_s * std::pow(2.0, fruitless - 1);
    queue_.Wait(std::max(std::min(backoff, kMaxWaitS), RetryAfterS(result)));
  }

  Queue& queue_;
  const DownloadOptions& options_;
  HttpClient client_;
};

}  // namespace

std::string Explain(int status, bool has_token) {
  switch (status) {
    case 401:
      return has_token ? "the hub does not accept the token (401)"
                       : "needs a token: set HF_TOKEN, or it does not exist (401)";
    case 403:
      return "the hub denies it (403): its terms must be accepted on its page, by the token's "
             "owner";
    case 404:
      return "is not there (404)";
    case 429:
      return "the hub asks for fewer requests (429)";
    default:
      return fmt::format("the server answers {}", status);
  }
}

bool DownloadAll(const std::vector<Download>& downloads, const DownloadOptions& options) {
  Queue queue(downloads, options);
  std::vector<std::thread> threads;
  threads.reserve(static_cast<size_t>(options.connections));
  for (int i = 0; i < options.connections; ++i) {
    threads.emplace_back([&] {
      try {
        Worker(queue, options).Run();
      } catch (...) {
        queue.Fail(std::current_exception());
      }
    });
  }
  for (auto& thread : threads) thread.join();
  queue.Rethrow();
  return !queue.Stopped();
}

}  // namespace cadre
