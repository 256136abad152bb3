// ONNX's messages: the numbers of the fields we read, and how each may be encoded.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_ONNX_FIELDS_HPP
#define MACSIM_ONNX_FIELDS_HPP

#include <cstdint>

#include "wire.hpp"

namespace macsim::onnx {

using wire::Message;

// clang-format off: a line for each field

namespace model {
enum : std::uint32_t {
  kIrVersion = 1, kProducerName = 2, kProducerVersion = 3, kDomain = 4, kModelVersion = 5, kDocString = 6, kGraph = 7,
  kOpsetImport = 8, kMetadata = 14, kTraining = 20, kFunctions = 25,
};
inline constexpr Message kMessage("ModelProto", {
    {kIrVersion, wire::kInteger, "ir_version"},
    {kProducerName, wire::kBytes, "producer_name"},
    {kProducerVersion, wire::kBytes, "producer_version"},
    {kDomain, wire::kBytes, "domain"},
    {kModelVersion, wire::kInteger, "model_version"},
    {kDocString, wire::kBytes, "doc_string"},
    {kGraph, wire::kBytes, "graph"},
    {kOpsetImport, wire::kBytes, "opset_import"},
    {kMetadata, wire::kBytes, "metadata_props"},
    {kTraining, wire::kBytes, "training_info"},
    {kFunctions, wire::kBytes, "functions"},
});
}  // namespace model

namespace opset {
enum : std::uint32_t { kDomain = 1, kVersion = 2 };
inline constexpr Message kMessage("OperatorSetIdProto", {
    {kDomain, wire::kBytes, "domain"},
    {kVersion, wire::kInteger, "version"},
});
}  // namespace opset

namespace graph {
enum : std::uint32_t {
  kNode = 1, kName = 2, kInitializer = 5, kDocString = 10, kInput = 11, kOutput = 12, kValueInfo = 13,
  kQuantization = 14, kSparseInitializer = 15, kMetadata = 16,
};
inline constexpr Message kMessage("GraphProto", {
    {kNode, wire::kBytes, "node"},
    {kName, wire::kBytes, "name"},
    {kInitializer, wire::kBytes, "initializer"},
    {kDocString, wire::kBytes, "doc_string"},
    {kInput, wire::kBytes, "input"},
    {kOutput, wire::kBytes, "output"},
    {kValueInfo, wire::kBytes, "value_info"},
    {kQuantization, wire::kBytes, "quantization_annotation"},
    {kSparseInitializer, wire::kBytes, "sparse_initializer"},
    {kMetadata, wire::kBytes, "metadata_props"},
});
}  // namespace graph

namespace node {
enum : std::uint32_t {
  kInput = 1, kOutput = 2, kName = 3, kOpType = 4, kAttribute = 5, kDocString = 6, kDomain = 7, kOverload = 8,
  kMetadata = 9,
};
inline constexpr Message kMessage("NodeProto", {
    {kInput, wire::kBytes, "input"},
    {kOutput, wire::kBytes, "output"},
    {kName, wire::kBytes, "name"},
    {kOpType, wire::kBytes, "op_type"},
    {kAttribute, wire::kBytes, "attribute"},
    {kDocString, wire::kBytes, "doc_string"},
    {kDomain, wire::kBytes, "domain"},
    {kOverload, wire::kBytes, "overload"},
    {kMetadata, wire::kBytes, "metadata_props"},
});
}  // namespace node

namespace attribute {
enum : std::uint32_t {
  kName = 1, kF = 2, kI = 3, kS = 4, kT = 5, kG = 6, kFloats = 7, kInts = 8, kStrings = 9, kTensors = 10, kGraphs = 11,
  kDocString = 13, kTp = 14, kTypeProtos = 15, kType = 20, kRefAttrName = 21, kSparseTensor = 22, kSparseTensors = 23,
};
inline constexpr Message kMessage("AttributeProto", {
    {kName, wire::kBytes, "name"},
    {kF, wire::kFloat, "f"},
    {kI, wire::kInteger, "i"},
    {kS, wire::kBytes, "s"},
    {kT, wire::kBytes, "t"},
    {kG, wire::kBytes, "g"},
    {kFloats, wire::kFloats, "floats"},
    {kInts, wire::kIntegers, "ints"},
    {kStrings, wire::kBytes, "strings"},
    {kTensors, wire::kBytes, "tensors"},
    {kGraphs, wire::kBytes, "graphs"},
    {kDocString, wire::kBytes, "doc_string"},
    {kTp, wire::kBytes, "tp"},
    {kTypeProtos, wire::kBytes, "type_protos"},
    {kType, wire::kInteger, "type"},
    {kRefAttrName, wire::kBytes, "ref_attr_name"},
    {kSparseTensor, wire::kBytes, "sparse_tensor"},
    {kSparseTensors, wire::kBytes, "sparse_tensors"},
});
/// AttributeProto.AttributeType: which field of an attribute is in use.
enum Is : std::uint8_t {
  kIsUndefined = 0, kIsFloat = 1, kIsInt = 2, kIsString = 3, kIsTensor = 4, kIsGraph = 5, kIsFloats = 6, kIsInts = 7,
  kIsStrings = 8, kIsTensors = 9, kIsGraphs = 10, kIsSparseTensor = 11, kIsSparseTensors = 12, kIsTypeProto = 13,
  kIsTypeProtos = 14,
};
}  // namespace attribute

namespace entry {
enum : std::uint32_t { kKey = 1, kValue = 2 };
inline constexpr Message kMessage("StringStringEntryProto", {
    {kKey, wire::kBytes, "key"},
    {kValue, wire::kBytes, "value"},
});
}  // namespace entry

namespace value_info {
enum : std::uint32_t { kName = 1, kType = 2 };
inline constexpr Message kMessage("ValueInfoProto", {
    {kName, wire::kBytes, "name"},
    {kType, wire::kBytes, "type"},
});
}  // namespace value_info

namespace tensor {
enum : std::uint32_t {
  kDims = 1, kDataType = 2, kFloatData = 4, kInt32Data = 5, kStringData = 6, kInt64Data = 7, kName = 8, kRawData = 9,
  kDoubleData = 10, kUint64Data = 11, kDocString = 12, kExternalData = 13, kDataLocation = 14,
};
inline constexpr Message kMessage("TensorProto", {
    {kDims, wire::kIntegers, "dims"},
    {kDataType, wire::kInteger, "data_type"},
    {kFloatData, wire::kFloats, "float_data"},
    {kInt32Data, wire::kIntegers, "int32_data"},
    {kStringData, wire::kBytes, "string_data"},
    {kInt64Data, wire::kIntegers, "int64_data"},
    {kName, wire::kBytes, "name"},
    {kRawData, wire::kBytes, "raw_data"},
    {kDoubleData, wire::kDoubles, "double_data"},
    {kUint64Data, wire::kIntegers, "uint64_data"},
    {kDocString, wire::kBytes, "doc_string"},
    {kExternalData, wire::kBytes, "external_data"},
    {kDataLocation, wire::kInteger, "data_location"},
});
inline constexpr std::uint64_t kExternal = 1;  ///< TensorProto.DataLocation.EXTERNAL
}  // namespace tensor

namespace sparse {
enum : std::uint32_t { kValues = 1, kIndices = 2, kDims = 3 };
inline constexpr Message kMessage("SparseTensorProto", {
    {kValues, wire::kBytes, "values"},
    {kIndices, wire::kBytes, "indices"},
    {kDims, wire::kIntegers, "dims"},
});
}  // namespace sparse

namespace type {
enum : std::uint32_t { kTensor = 1, kSequence = 4, kMap = 5, kOpaque = 7, kSparse = 8, kOptional = 9 };
inline constexpr Message kMessage("TypeProto", {
    {kTensor, wire::kBytes, "tensor_type"},
    {kSequence, wire::kBytes, "sequence_type"},
    {kMap, wire::kBytes, "map_type"},
    {kOpaque, wire::kBytes, "opaque_type"},
    {kSparse, wire::kBytes, "sparse_tensor_type"},
    {kOptional, wire::kBytes, "optional_type"},
});
}  // namespace type

/// TypeProto.Tensor and TypeProto.SparseTensor.
namespace tensor_type {
enum : std::uint32_t { kElemType = 1, kShape = 2 };
inline constexpr Message kMessage("TypeProto.Tensor", {
    {kElemType, wire::kInteger, "elem_type"},
    {kShape, wire::kBytes, "shape"},
});
}  // namespace tensor_type

/// TypeProto.Sequence and TypeProto.Optional.
namespace holder_type {
enum : std::uint32_t { kElemType = 1 };
inline constexpr Message kMessage("TypeProto.Sequence", {{kElemType, wire::kBytes, "elem_type"}});
}  // namespace holder_type

namespace map_type {
enum : std::uint32_t { kKeyType = 1, kValueType = 2 };
inline constexpr Message kMessage("TypeProto.Map", {
    {kKeyType, wire::kInteger, "key_type"},
    {kValueType, wire::kBytes, "value_type"},
});
}  // namespace map_type

namespace shape {
enum : std::uint32_t { kDim = 1 };
inline constexpr Message kMessage("TensorShapeProto", {{kDim, wire::kBytes, "dim"}});
}  // namespace shape

namespace dimension {
enum : std::uint32_t { kValue = 1, kParam = 2 };
inline constexpr Message kMessage("TensorShapeProto.Dimension", {
    {kValue, wire::kInteger, "dim_value"},
    {kParam, wire::kBytes, "dim_param"},
});
}  // namespace dimension

namespace function {
enum : std::uint32_t {
  kName = 1, kInput = 4, kOutput = 5, kAttribute = 6, kNode = 7, kDocString = 8, kOpsetImport = 9, kDomain = 10,
  kAttributeProto = 11, kValueInfo = 12, kOverload = 13, kMetadata = 14,
};
inline constexpr Message kMessage("FunctionProto", {
    {kName, wire::kBytes, "name"},
    {kInput, wire::kBytes, "input"},
    {kOutput, wire::kBytes, "output"},
    {kAttribute, wire::kBytes, "attribute"},
    {kNode, wire::kBytes, "node"},
    {kDocString, wire::kBytes, "doc_string"},
    {kOpsetImport, wire::kBytes, "opset_import"},
    {kDomain, wire::kBytes, "domain"},
    {kAttributeProto, wire::kBytes, "attribute_proto"},
    {kValueInfo, wire::kBytes, "value_info"},
    {kOverload, wire::kBytes, "overload"},
    {kMetadata, wire::kBytes, "metadata_props"},
});
}  // namespace function

// clang-format on

}  // namespace macsim::onnx

#endif  // MACSIM_ONNX_FIELDS_HPP
