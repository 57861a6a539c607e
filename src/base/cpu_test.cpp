#include "base/cpu.h"

#include <gtest/gtest.h>

namespace tern {
namespace {

constexpr Isa kAll[] = {Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512, Isa::amx};

TEST(Isa, OneThatIsMissingIsRefusedWithThoseThatThereAre) {
  const Isa before = active_isa();
  for (const Isa missing : kAll) {
    if (supported(missing)) continue;
    const auto selected = select_isa(name(missing));
    ASSERT_FALSE(selected);
    EXPECT_EQ(selected.error().code, ErrorCode::unsupported);
    for (const Isa isa : kAll)
      EXPECT_EQ(selected.error().hint.find(name(isa)) != std::string::npos, supported(isa))
          << name(isa) << " in: " << selected.error().hint;
  }
  EXPECT_EQ(active_isa(), before);
}

TEST(Isa, NeonIsInEveryCpuOfItsArchitectureAndItsExtensionsInNoOther) {
#if defined(__aarch64__)
  EXPECT_TRUE(supported(Isa::neon));
#else
  EXPECT_FALSE(supported(Isa::neon));
  EXPECT_FALSE(supported(NeonExtension::dotprod));
  EXPECT_FALSE(supported(NeonExtension::i8mm));
#endif
}

}  // namespace
}  // namespace tern
