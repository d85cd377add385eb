// Summaries as the JSON of exponential histograms that others read.
#pragma once

#include "base/summary.hpp"

#include <string>

namespace orchestry::base {

/// An ExponentialHistogramDataPoint in OTLP's JSON: 64-bit numbers are strings. Its buckets are a
/// plain row from the first to the last, so the scale is lowered until there are no more than
/// Summary::max_buckets on either side.
std::string to_otel_json(const Summary& summary);

/// A Histogram of Prometheus' remote-write protocol, in the JSON of its protobuf: spans of buckets,
/// and counts as differences.
std::string to_prometheus_json(const Summary& summary);

} // namespace orchestry::base
