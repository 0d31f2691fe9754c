// Standard input, output and error keep their places. For the source file of a program's main.
#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <initializer_list>

namespace bib::cli {

/// Where one of them is closed, the next file that is opened would take its place, and messages would go into a file of
/// answers, or a server's log into its journal. What holds the place can be written where one reads, and read where one
/// writes, so that using it stays an error.
inline void hold_standard_places() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (fcntl(fd, F_GETFD) < 0) open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

/// Before main, and before shared libraries begin: gRPC's open descriptors then.
[[gnu::section(".preinit_array"), gnu::used]] static void (*first)() = hold_standard_places;

}  // namespace bib::cli
