// bib info: what this build and this machine are.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "bib/context.h"
#include "cli/verbs.h"

namespace bib::cli {

void add_info(CLI::App& app, Action& action) {
  CLI::App* verb = app.add_subcommand("info", "Show version, CPU path, threads and GPU");
  static bool json = false;
  verb->add_flag("--json", json, "One JSON object");
  verb->footer("Example: bib info --json");
  verb->callback([&action] {
    action = [] {
      const DeviceInfo gpu = cuda_info();
      if (json) {
        nlohmann::ordered_json out{{"version", BIB_VERSION},      {"isa", cpu_isa_name()},
                                   {"blas", cpu_blas_name()},     {"threads", available_threads()},
                                   {"built_with_cuda", has_cuda}, {"cuda", gpu.cuda}};
        if (gpu.cuda) {
          out["gpu"] = gpu.name;
          out["compute_capability"] = std::to_string(gpu.compute_major) + "." + std::to_string(gpu.compute_minor);
          out["gpu_memory_total"] = gpu.memory_total;
        } else {
          out["why"] = gpu.why;
        }
        std::printf("%s\n", out.dump(2).c_str());
      } else {
        std::printf("bib %s\nCPU: %s path, products by %s, %d threads\n", BIB_VERSION, cpu_isa_name(), cpu_blas_name(),
                    available_threads());
        if (gpu.cuda) {
          std::printf("GPU: %s, sm_%d%d, %zu MiB\n", gpu.name.c_str(), gpu.compute_major, gpu.compute_minor,
                      gpu.memory_total >> 20);
        } else {
          std::printf("GPU: none (%s)\n", gpu.why.c_str());
        }
      }
      return exit_code::ok;
    };
  });
}

}  // namespace bib::cli
