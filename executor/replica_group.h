#pragma once
// ReplicaGroup: processes forked from this one that all do the same work, meet where they are told
// to, and send back one text each. One that fails ends the whole group with one error.
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace vramplan {

class ReplicaGroup {
 public:
  /// What a replica does, in its own process: `meet` waits there until all others have come to
  /// their meeting of the same number and the parent lets them go on.
  using Work = std::function<std::string(int replica, const std::function<void()>& meet)>;

  /// Forks `count` processes; this one must have no other threads. `idle` is called now and then
  /// while this process waits; what it throws ends the group. Errors: kIo when there can be no more
  /// processes.
  ReplicaGroup(int count, const Work& work, std::function<void()> idle);
  /// Ends replicas that still run.
  ~ReplicaGroup();
  ReplicaGroup(const ReplicaGroup&) = delete;
  ReplicaGroup& operator=(const ReplicaGroup&) = delete;

  /// Waits until all replicas are at their next meeting; they stay there. Errors: what a replica
  /// threw, naming it; kIo naming the signal or status of one that ended otherwise.
  void gather();
  void let_go();
  /// Waits until all are done. Errors: as gather.
  std::vector<std::string> results();
  pid_t pid(int replica) const { return members_[static_cast<std::size_t>(replica)].pid; }

 private:
  struct Member {
    pid_t pid = -1;
    int socket = -1;
    std::int64_t meetings = 0;
    std::string received, result;
    bool done = false;
  };
  [[noreturn]] void be_replica(int replica, int socket, const Work& work);
  void wait_for(const std::function<bool(const Member&)>& reached);
  void receive(std::size_t replica);
  void parse(std::size_t replica);
  [[noreturn]] void fail_dead(std::size_t replica);
  void end_all();

  std::vector<Member> members_;
  std::function<void()> idle_;
  std::int64_t meeting_ = 0;
};

}  // namespace vramplan
