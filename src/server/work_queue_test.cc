#include "server/work_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <stdexcept>

namespace cadre {
namespace {

TEST(WorkQueue, RunsWhatIsPosted) {
  std::atomic<int> runs = 0;
  std::promise<void> all;
  WorkQueue queue(3);
  for (int i = 0; i < 100; ++i) {
    queue.Post([&] {
      if (++runs == 100) all.set_value();
    });
  }
  all.get_future().get();
  EXPECT_EQ(runs, 100);
}

TEST(WorkQueue, OutlivesATaskThatThrows) {
  WorkQueue queue(1);
  std::promise<int> after;
  queue.Post([] { throw std::runtime_error("no"); });
  queue.Post([&] { after.set_value(5); });
  EXPECT_EQ(after.get_future().get(), 5);
}

TEST(WorkQueue, DropsWhatWaitsWhenItStops) {
  std::atomic<int> runs = 0;
  std::promise<void> begun;
  std::promise<void> go;
  std::shared_future<void> may_go = go.get_future().share();
  auto held = std::make_shared<int>(1);
  WorkQueue queue(1);
  queue.Post([&] {
    begun.set_value();
    may_go.wait();
    ++runs;
  });
  queue.Post([&runs, held] { ++runs; });
  begun.get_future().wait();
  std::thread stopper([&] { queue.Stop(); });
  while (held.use_count() > 1) std::this_thread::yield();  // dropped before the first is done
  go.set_value();
  stopper.join();
  EXPECT_EQ(runs, 1);
  queue.Post([&] { ++runs; });
  EXPECT_EQ(runs, 1);
}

}  // namespace
}  // namespace cadre
