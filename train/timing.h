// How fast a model answers on one device: what `bib bench` prints.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "bib/config.h"
#include "bib/context.h"
#include "bib/document.h"

namespace bib {

/// One figure, once per repeat.
struct Metric {
  std::string name;  // cpu/one_text/p50
  std::string unit;
  bool lower_is_better = true;
  std::vector<double> samples;
};

struct TimingOptions {
  int repeats = 5;
  double seconds = 0.3;                           // of one figure in one repeat, at least
  std::vector<int> batches{1, 4, 16, 64, 256};    // texts in one call
  std::function<void(const std::string&)> doing;  // told what is measured now
};

/// Load time, latency of one text (p50, p99; texts in turn, scores included), texts a second by batch, memory.
/// `device` begins the names. Throws what loading throws.
std::vector<Metric> time_model(const std::string& path, Task task, const std::vector<Document>& texts,
                               const ContextOptions& device, const TimingOptions& options);

/// Texts of made-up Korean for a machine without any corpus: `count` sentences of 10 to 60 syllables, one entity each
/// for NER, one of four classes for TC. The same every time.
std::vector<Document> made_up_documents(Task task, int count);

/// A model of the task's default size, trained for a moment on made-up documents: as fast as a real one of few words.
void write_made_up_model(const std::string& path, Task task);

double median(std::vector<double> samples);  // of at least one
/// Largest deviation from the median that half of the samples stay within, over the median: how much a figure jitters.
double spread(const std::vector<double>& samples);
/// Two-sided p of the Mann-Whitney U test (Mann & Whitney 1947), exact but for ties, which count one half.
double mann_whitney_p(const std::vector<double>& a, const std::vector<double>& b);

}  // namespace bib
