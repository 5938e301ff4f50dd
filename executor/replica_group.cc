#include "executor/replica_group.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <utility>

#include "modelcards/error.h"

namespace vramplan {
namespace {

// Messages of a replica: a letter, and behind the last two a length and so many bytes.
constexpr char kMeeting = 'm', kResult = 'r', kFailure = 'f', kGo = 'g';
constexpr std::size_t kHeader = 1 + sizeof(std::uint64_t);
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 32;
constexpr int kPollMilliseconds = 100;

void send_all(int socket, const char* data, std::size_t size) {
  for (std::size_t sent = 0; sent < size;) {
    const ssize_t n = send(socket, data + sent, size - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) _exit(1);  // nobody waits for it any more
    sent += static_cast<std::size_t>(n);
  }
}

void send_text(int socket, char kind, const std::string& text) {
  std::string message(1, kind);
  const std::uint64_t size = text.size();
  message.append(reinterpret_cast<const char*>(&size), sizeof size);
  message += text;
  send_all(socket, message.data(), message.size());
}

void meet(int socket) {
  send_all(socket, &kMeeting, 1);
  char answer = 0;
  ssize_t n = 0;
  do {
    n = read(socket, &answer, 1);
  } while (n < 0 && errno == EINTR);
  if (n != 1 || answer != kGo) _exit(1);
}

std::string packed(const Error& error) {
  std::string text = std::to_string(static_cast<int>(error.code()));
  for (const std::string* part : {&error.message(), &error.file(), &error.field(), &error.fix()}) {
    text += '\0' + *part;
  }
  return text;
}

[[noreturn]] void throw_packed(const std::string& text, std::size_t replica) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == '\0')
      parts.emplace_back();
    else
      parts.back() += c;
  }
  parts.resize(5);
  throw Error(static_cast<ErrorCode>(std::stoi(parts[0])),
              "replica " + std::to_string(replica) + ": " + parts[1])
      .at(parts[2], parts[3])
      .help(parts[4]);
}

}  // namespace

ReplicaGroup::ReplicaGroup(int count, const Work& work, std::function<void()> idle)
    : idle_(std::move(idle)) {
  std::fflush(nullptr);  // or every process would write what is buffered
  for (int replica = 0; replica < count; ++replica) {
    std::array<int, 2> ends{};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
      end_all();
      throw Error(ErrorCode::kIo, std::string("sockets of replicas: ") + std::strerror(errno));
    }
    const pid_t pid = fork();
    if (pid == 0) {
      close(ends[0]);
      be_replica(replica, ends[1], work);
    }
    const int reason = errno;
    close(ends[1]);
    if (pid < 0) {
      close(ends[0]);
      end_all();
      throw Error(ErrorCode::kIo, "the system starts no process for replica " +
                                      std::to_string(replica) + ": " + std::strerror(reason))
          .help("use fewer --replicas, or raise the limit of processes (ulimit -u)");
    }
    members_.emplace_back();
    members_.back().pid = pid;
    members_.back().socket = ends[0];
  }
}

ReplicaGroup::~ReplicaGroup() { end_all(); }

void ReplicaGroup::end_all() {
  for (Member& member : members_) {
    if (member.socket >= 0) close(member.socket);
    member.socket = -1;
    if (member.pid < 0) continue;
    if (!member.done) kill(member.pid, SIGKILL);
    while (waitpid(member.pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    member.pid = -1;
  }
}

void ReplicaGroup::be_replica(int replica, int socket, const Work& work) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // no replica outlives its parent
  for (const Member& elder : members_) close(elder.socket);
  try {
    send_text(socket, kResult, work(replica, [socket] { meet(socket); }));
  } catch (const Error& error) {
    send_text(socket, kFailure, packed(error));
  } catch (const std::exception& error) {
    send_text(socket, kFailure, packed(Error(ErrorCode::kInternal, error.what())));
  }
  _exit(0);  // what the parent made is the parent's to take apart
}

void ReplicaGroup::gather() {
  const std::int64_t wanted = ++meeting_;
  wait_for([wanted](const Member& member) { return member.meetings >= wanted; });
}

void ReplicaGroup::let_go() {
  for (std::size_t i = 0; i < members_.size(); ++i) {
    if (send(members_[i].socket, &kGo, 1, MSG_NOSIGNAL) != 1) fail_dead(i);
  }
}

std::vector<std::string> ReplicaGroup::results() {
  wait_for([](const Member& member) { return member.done; });
  std::vector<std::string> texts;
  for (Member& member : members_) texts.push_back(std::move(member.result));
  return texts;
}

void ReplicaGroup::wait_for(const std::function<bool(const Member&)>& reached) {
  while (!std::all_of(members_.begin(), members_.end(), reached)) {
    std::vector<pollfd> waiting;
    std::vector<std::size_t> replicas;
    for (std::size_t i = 0; i < members_.size(); ++i) {
      if (members_[i].done) continue;
      waiting.push_back({members_[i].socket, POLLIN, 0});
      replicas.push_back(i);
    }
    poll(waiting.data(), waiting.size(), kPollMilliseconds);
    for (std::size_t k = 0; k < waiting.size(); ++k) {
      if (waiting[k].revents != 0) receive(replicas[k]);
    }
    if (idle_) idle_();
  }
}

void ReplicaGroup::receive(std::size_t replica) {
  std::array<char, 1 << 16> buffer;
  const ssize_t n = read(members_[replica].socket, buffer.data(), buffer.size());
  if (n < 0 && errno == EINTR) return;
  if (n <= 0) fail_dead(replica);
  members_[replica].received.append(buffer.data(), static_cast<std::size_t>(n));
  parse(replica);
}

void ReplicaGroup::parse(std::size_t replica) {
  Member& member = members_[replica];
  std::string& text = member.received;
  while (!text.empty() && text[0] == kMeeting) {
    ++member.meetings;
    text.erase(0, 1);
  }
  if (text.size() < kHeader) return;
  std::uint64_t size = 0;
  std::memcpy(&size, text.data() + 1, sizeof size);
  VRAMPLAN_CHECK(size < kMostBytes && (text[0] == kResult || text[0] == kFailure));
  if (text.size() - kHeader < size) return;
  member.result = text.substr(kHeader);
  if (text[0] == kFailure) throw_packed(member.result, replica);
  member.done = true;
}

/// Its end of the socket is closed, so it is gone, or will be now.
void ReplicaGroup::fail_dead(std::size_t replica) {
  Member& member = members_[replica];
  int status = 0;
  while (waitpid(member.pid, &status, 0) < 0 && errno == EINTR) {
  }
  member.pid = -1;
  std::string how = "status " + std::to_string(WEXITSTATUS(status));
  if (WIFSIGNALED(status)) {
    how = "signal " + std::to_string(WTERMSIG(status)) + " (" + strsignal(WTERMSIG(status)) + ")";
  }
  throw Error(ErrorCode::kIo, "replica " + std::to_string(replica) + " of " +
                                  std::to_string(members_.size()) + " ended with " + how +
                                  "; the others were stopped")
      .help("signal 9 without a sender is the system running out of memory: use fewer --replicas");
}

}  // namespace vramplan
