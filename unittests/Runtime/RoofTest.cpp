//===- RoofTest.cpp - what this machine can do at best --------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effrt/roof.h"

#include <gtest/gtest.h>

#include <vector>

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
  Peak peak = measurePeak(**pool, 0.02);
  EXPECT_GT(peak.flops, 1e8);
  EXPECT_LT(peak.flops, 1e15);
  EXPECT_GT(peak.integerOps, 1e8);
  EXPECT_LT(peak.integerOps, 1e16);
  RecordProperty("read_gb_per_s", int(bandwidth->bytesPerSecond / 1e9));
  RecordProperty("peak_gflop_per_s", int(peak.flops / 1e9));
}

TEST(Roof, OfBytesThatAreThere) {
  auto pool = ThreadPool::create({});
  ASSERT_TRUE(pool.ok());
  std::vector<uint8_t> data(uint64_t(100) << 20, 1);
  // Not aligned; more than one window.
  Bandwidth large =
      measureReadBandwidth(**pool, data.data() + 1, data.size() - 1, 0.01);
  EXPECT_GT(large.bytesPerSecond, 5e7);
  EXPECT_LT(large.bytesPerSecond, 1e13);
  EXPECT_LT(large.bufferBytes, data.size());
  EXPECT_GE(large.passes, 1);
  uint64_t little = uint64_t((**pool).threads()) << 16;
  Bandwidth small = measureReadBandwidth(**pool, data.data(), little, 0.01);
  EXPECT_GT(small.bytesPerSecond, 5e7);
  EXPECT_LE(small.bufferBytes, little);
  EXPECT_EQ(
      measureReadBandwidth(**pool, data.data(), 1000, 0.01).bytesPerSecond, 0);
}

} // namespace
