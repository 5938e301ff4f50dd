#include "planner/engines/log_line.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>

namespace vramplan {
namespace {

TEST(LogLine, ColoursAndCarriageReturnsGo) {
  EXPECT_EQ(plain_line("\x1b[36m(Worker_TP0 pid=7)\x1b[0;0m INFO\x1b[1;32m ok\r"),
            "(Worker_TP0 pid=7) INFO ok");
  EXPECT_EQ(plain_line("\\u001b[0;36mINFO\\u001b[0m 12 GiB"), "INFO 12 GiB");
  EXPECT_EQ(plain_line("cut \x1b["), "cut ");
}

// As the json-file driver of Docker and log collectors write them.
TEST(LogLine, TheTextOfAJsonLineIsTheLine) {
  EXPECT_EQ(plain_line(R"({"log":"INFO \"x\" took 0.91 GiB\n","stream":"stderr","time":"t"})"),
            "INFO \"x\" took 0.91 GiB ");
  EXPECT_EQ(plain_line(R"({"ts": 1, "message": "\u001b[32mINFO\u001b[0m a\tb"})"), "INFO a b");
  EXPECT_EQ(plain_line(R"({"level":"info","msg":"12 GiB"})"), "12 GiB");
  EXPECT_EQ(plain_line(R"({"other": 3})"), R"({"other": 3})");
}

TEST(LogLine, APrefixSaysWhoseLineItIs) {
  for (const char* other :
       {"(Worker_TP1 pid=448) INFO", "(Worker_PP1_TP0 pid=4) INFO", "(Worker_DP0_TP2_EP2 pid=9) x",
        "(EngineCore_DP1 pid=4) INFO", "(EngineCore_1 pid=4) INFO",
        "(VllmWorkerProcess pid=521) INFO", "(VllmWorker rank=3 pid=77) INFO",
        "[2026-04-10 23:19:05 TP1] KV Cache", "[2025-09-22 10:25:22 DP1 PP0] x",
        "2026-03-11T17:57:58.9Z stderr F (Worker_TP12 pid=1) x", "[TRT-LLM] [RANK 1] [I] x",
        "[1,3]<stdout>:x"}) {
    EXPECT_TRUE(of_another_rank(other)) << other;
  }
  for (const char* first :
       {"INFO 04-12 worker.py] x", "(Worker_TP0 pid=1) x", "(Worker_PP0_TP0 pid=1) x",
        "(EngineCore_DP0 pid=1) x", "(EngineCore pid=1) x", "(APIServer pid=1) x",
        "[2026-04-10 23:19:05 TP0] x", "[2025-06-19 15:12:27] x", "[2025-09-22 10:25:22 DP0 PP0] x",
        "[1,0]<stdout>:x", "(VllmWorker rank=0 pid=77) x", "[RANK 0] x"}) {
    EXPECT_FALSE(of_another_rank(first)) << first;
  }
}

RC_GTEST_PROP(LogLine, NoTextBreaksIt, (const std::string& noise)) {
  for (const char* before : {"", "{\"log\":\"", "[20", "(Worker_", "\x1b["}) {
    const std::string line = plain_line(before + noise);
    RC_ASSERT(line.size() <= noise.size() + 8);
    of_another_rank(before + noise);
  }
}

}  // namespace
}  // namespace vramplan
