"""GGUF files: what is in them, read without trusting them."""

from oxillama.gguf.file import GGML_TYPES, VALUE_TYPES, GgmlType, GGUFFile, Metadata, StringArray, TensorInfo

__all__ = ["GGML_TYPES", "VALUE_TYPES", "GGUFFile", "GgmlType", "Metadata", "StringArray", "TensorInfo"]
