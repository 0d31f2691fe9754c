// What comes in by a connection of HTTP: the first two bytes say where it is cut into two pieces, the rest is sent. It
// is answered alike whether it comes at once or in pieces, and never by what is wrong inside the server.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <vector>

#include "serve/http.h"
#include "tests/fuzz/served_models.h"

namespace {

using namespace bib::serve;

bool send_all(int socket, const std::string& bytes) {
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t sent = TEMP_FAILURE_RETRY(send(socket, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL));
    if (sent <= 0) return false;
    done += static_cast<std::size_t>(sent);
  }
  return true;
}

/// The status of each answer.
std::vector<std::string> ask(int port, const std::vector<std::string>& pieces) {
  const int client = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  // From another address each time: there are fewer ports than connections in the minute that the system remembers
  // them.
  static std::uint32_t number = 0;
  sockaddr_in own = address;
  own.sin_port = 0;
  own.sin_addr.s_addr = htonl(INADDR_LOOPBACK + ++number % 0xFFFF00);
  require(bind(client, reinterpret_cast<sockaddr*>(&own), sizeof own) == 0);
  require(connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  const int now = 1;
  setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &now, sizeof now);
  for (const std::string& piece : pieces) require(send_all(client, piece));
  shutdown(client, SHUT_WR);
  std::string answer;
  char buffer[65536];
  ssize_t got = 0;
  // Again after the alarm by which libFuzzer looks for what takes too long.
  while ((got = TEMP_FAILURE_RETRY(recv(client, buffer, sizeof buffer, 0))) > 0)
    answer.append(buffer, static_cast<std::size_t>(got));
  require(got == 0);  // closed in order, so that no answer was lost
  close(client);
  std::vector<std::string> out;
  const std::string begin = "HTTP/1.1 ";
  for (std::size_t at = 0; (at = answer.find(begin, at)) != std::string::npos; at += begin.size()) {
    out.push_back(answer.substr(at + begin.size(), 3));
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static ServedModels models;
  static Http http(*models.app);
  if (size < 3) return 0;
  const std::string bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::size_t cut = (data[0] + 256u * data[1]) % bytes.size();
  const std::vector<std::string> at_once = ask(http.port(), {bytes});
  for (const std::string& status : at_once) require(status != "500");
  require(ask(http.port(), {bytes.substr(0, cut), bytes.substr(cut)}) == at_once);
  return 0;
}
