//===- RoofTest.cpp - what this machine can do at best --------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effrt/roof.h"

#include <gtest/gtest.h>

using namespace effrt;

namespace {

TEST(Roof, IsPlausible) {
  Result<std::unique_ptr<ThreadPool>> pool = ThreadPool::create({});
  ASSERT_TRUE(pool.ok());
  Result<Bandwidth> bandwidth = measureReadBandwidth(**pool, 0.05);
  ASSERT_TRUE(bandwidth.ok()) << bandwidth.error().format();
  // Wide limits: any machine that runs this, also under a sanitizer.
  EXPECT_GT(bandwidth->bytesPerSecond, 5e7);
  EXPECT_LT(bandwidth->bytesPerSecond, 1e13);
  EXPECT_GE(bandwidth->bufferBytes, uint64_t(8) << 20);
  EXPECT_GE(bandwidth->passes, 1);
  Peak peak = measurePeakFlops(**pool, 0.02);
  EXPECT_GT(peak.flops, 1e8);
  EXPECT_LT(peak.flops, 1e15);
  RecordProperty("read_gb_per_s", int(bandwidth->bytesPerSecond / 1e9));
  RecordProperty("peak_gflop_per_s", int(peak.flops / 1e9));
}

} // namespace
