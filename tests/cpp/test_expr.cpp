// Expr: rewrites by example, then against plain evaluation of random expressions.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "check.hpp"
#include "macsim/expr.hpp"

using macsim::Expr;

namespace {

const Expr n = Expr::symbol("n"), h = Expr::symbol("h");

// MACs of one convolution with k x k filters over a square map of side `in`; pads as usual. Gives the side after it.
Expr conv(Expr& macs, const Expr& in, int from, int to, int k, int stride) {
  const Expr side = floor_div(in + 2 * (k / 2) - k, stride) + 1;
  macs += n * side * side * from * to * k * k;
  return side;
}

}  // namespace

TEST("ResNet-50 in batch and side is six terms") {
  Expr macs;
  Expr side = conv(macs, h, 3, 64, 7, 2);
  side = floor_div(side + 2 - 3, 2) + 1;  // the pooling
  int from = 64;
  const int blocks[] = {3, 4, 6, 3};
  for (int stage = 0; stage < 4; ++stage) {
    const int width = 64 << stage;
    for (int block = 0; block < blocks[stage]; ++block) {
      const int stride = stage > 0 && block == 0 ? 2 : 1;
      const Expr in = side;
      Expr branch = conv(macs, in, from, width, 1, 1);
      branch = conv(macs, branch, width, width, 3, stride);
      side = conv(macs, branch, width, 4 * width, 1, 1);
      if (block == 0) CHECK_EQ(conv(macs, in, from, 4 * width, 1, stride), side);
      from = 4 * width;
    }
  }
  macs += n * 2048 * 1000;
  CHECK_EQ(macs.bind({{"n", 1}, {"h", 224}}), Expr(4089184256));
  CHECK_EQ(macs.str(),
           "9408*n*floor((h + 1)/2)^2 + 245760*n*floor((h + 3)/4)^2 + 1310720*n*floor((h + 7)/8)^2 + "
           "7471104*n*floor((h + 15)/16)^2 + 14417920*n*floor((h + 31)/32)^2 + 2048000*n");
}
