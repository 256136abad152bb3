// The families of rules. builtin.cpp concatenates them; it is the only list there is.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>
#include <string_view>
#include <vector>

#include "macsim/rule.hpp"

namespace macsim::rules {

/// Every row there is, family by family.
std::vector<Rule> builtin();

/// The rows, each with this access where none is said.
std::vector<Rule> with(Access access, std::vector<Rule> rules);
/// The same, for the rows of these names only; the others stay as they are.
std::vector<Rule> with(Access access, std::initializer_list<std::string_view> names, std::vector<Rule> rules);

std::vector<Rule> contraction_family();  // matmul, gemm, einsum, and their fused and quantised kin
std::vector<Rule> conv_family();         // conv, transposed, deformable, quantised, fused, col2im
std::vector<Rule> attention_family();    // attention in all its spellings, rotary embedding, linear attention
std::vector<Rule> pool_family();         // max, average, lp, global, unpool, roi
std::vector<Rule> norm_family();  // batch, layer, group, instance, rms, lrn, lp, mean-variance, skip and embed kinds
std::vector<Rule> elementwise_family();  // unary, binary, where, clip, cast, activations, logic, bit operations
std::vector<Rule> reduce_family();       // sum, mean, max, arg, cumulative, softmax, topk, loss
std::vector<Rule> view_family();         // reshape, transpose, squeeze, expand, flatten, identity
std::vector<Rule> move_family();         // concat, split, pad, gather, scatter, tile, slice, one-hot
std::vector<Rule> shape_family();        // shape, size, range, constants, non-zero, unique
std::vector<Rule> resize_family();       // resize, upsample, grid sample, affine grid, crops
std::vector<Rule> rnn_family();          // rnn, gru, lstm and their quantised kin
std::vector<Rule> quant_family();        // quantise, dequantise and element-wise quantised operators
std::vector<Rule> control_family();      // if, loop, scan
std::vector<Rule> sequence_family();     // sequences and optionals
std::vector<Rule> random_family();       // random numbers, dropout
std::vector<Rule> signal_family();       // dft, stft, windows, mel, inverse, determinant
std::vector<Rule> moe_family();          // mixtures of experts
std::vector<Rule> text_family();         // strings, tokens, tf-idf
std::vector<Rule> ml_family();           // ai.onnx.ml: trees, linear models, SVM, encoders
std::vector<Rule> train_family();        // ai.onnx.preview.training: optimisers, gradients
std::vector<Rule> contrib_family();      // com.microsoft operators that belong nowhere else

}  // namespace macsim::rules
