//===- X86MachineTest.cpp - names and features of targets
//-------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Target/X86/X86Machine.h"
#include "effrt/effrt.h"

#include <gtest/gtest.h>

using namespace effc;

namespace {

X86Machine parse(const char *name) {
  return llvm::cantFail(X86Machine::parse(name));
}
std::string errorOf(const char *name) {
  llvm::Expected<X86Machine> machine = X86Machine::parse(name);
  return machine ? "" : llvm::toString(machine.takeError());
}

TEST(X86MachineTest, NamesRoundTrip) {
  for (const char *name : {"x86-64-v2", "x86-64-v3", "x86-64-v3+avxvnni",
                           "x86-64-v4", "x86-64-v4+vnni+bf16"}) {
    EXPECT_EQ(parse(name).name(), name);
    EXPECT_TRUE(parse(parse(name).name().c_str()) == parse(name));
  }
  X86Machine host = X86Machine::host();
  EXPECT_EQ(parse(host.name().c_str()).name(), host.name());
}

TEST(X86MachineTest, LevelsIncludeEachOther) {
  EXPECT_EQ(parse("x86-64-v4").features(),
            uint64_t(EFF_FEATURE_X86_64_V2 | EFF_FEATURE_X86_64_V3 |
                     EFF_FEATURE_X86_64_V4));
  EXPECT_TRUE(parse("x86-64-v3").runsOn(parse("x86-64-v4+vnni")));
  EXPECT_FALSE(parse("x86-64-v4+vnni").runsOn(parse("x86-64-v4")));
}

TEST(X86MachineTest, HostRunsItselfAndSaysWhy) {
  std::string reason;
  X86Machine host = X86Machine::host(&reason);
  EXPECT_TRUE(host.runsHere());
  EXPECT_NE(reason.find(host.name()), std::string::npos) << reason;
}

TEST(X86MachineTest, BadNamesAreExplained) {
  EXPECT_NE(errorOf("x86-64-v5").find("EFF0502"), std::string::npos);
  EXPECT_NE(errorOf("x86-64-v5").find("x86-64-v4"), std::string::npos)
      << "the valid names are listed";
  EXPECT_NE(errorOf("x86-64-v4+amx").find("'amx'"), std::string::npos);
  EXPECT_NE(errorOf("x86-64-v3+vnni").find("higher level"), std::string::npos);
}

} // namespace
