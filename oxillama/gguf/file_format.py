"""What a file is that is no GGUF file, told by its first bytes and its name, and what to do about it."""

from __future__ import annotations

import os
import re

CONVERT = "convert the model with convert_hf_to_gguf.py of llama.cpp, or download it as GGUF"
UNPACK = "unpack it and give the GGUF file in it"
AGAIN = "download the file again"

# First bytes -> what it is, what to do.
MAGICS: dict[bytes, tuple[str, str]] = {
    b"PK\x03\x04": ("a zip archive, which is also how PyTorch saves weights", f"{UNPACK}, or {CONVERT}"),
    b"PK\x05\x06": ("an empty zip archive", AGAIN),
    b"\x1f\x8b": ("a gzip archive", UNPACK),
    b"BZh": ("a bzip2 archive", UNPACK),
    b"\xfd7zXZ\0": ("an xz archive", UNPACK),
    b"(\xb5/\xfd": ("a Zstandard archive", UNPACK),
    b"7z\xbc\xaf'\x1c": ("a 7z archive", UNPACK),
    b"Rar!": ("a RAR archive", UNPACK),
    b"\x93NUMPY": ("a NumPy array", CONVERT),
    b"\x89HDF\r\n": ("an HDF5 file, as Keras saves weights", CONVERT),
    b"version https://git-lfs.github.com/spec": (
        "a Git LFS pointer, which stands for the file itself",
        "fetch that with `git lfs pull`, or download it from the model's page",
    ),
    b"# xet version": ("a Xet pointer, which stands for the file itself", "download the file from the model's page"),
    b"\x7fELF": ("a program, such as a llamafile", "give the GGUF file that it was made with"),
    b"MZ": ("a program, such as a llamafile", "give the GGUF file that it was made with"),
    b"FUGG": ("a GGUF file with its bytes turned round", AGAIN),
    # Formats before GGUF: the number that begins them stands in the file with its last byte first.
    b"lmgg": ("a GGML file, of early 2023 or for whisper.cpp", "a language model must be converted to GGUF anew"),
    b"fmgg": ("a GGMF file of early 2023", "convert the original model to GGUF"),
    b"tjgg": ("a GGJT file of 2023", "convert the original model to GGUF"),
    b"algg": ("a LoRA adapter in the format before GGUF", "adapters are not supported; open the model itself"),
    b"nsgg": ("a saved session of llama.cpp", "open the model that it was made with"),
    b"qsgg": ("a saved sequence of llama.cpp", "open the model that it was made with"),
}
TAR_MAGIC, TAR_OFFSET = b"ustar", 257
# How much of a file describe() may ask for.
HEAD_BYTES = 512

# Names of what a large file was cut into, byte by byte; unlike the parts of a split model, none is a file of its own.
PIECE_NAME = re.compile(r"[.-](?:part|split|chunk)[.-]?(?:\d+(?:of\d+)?|[a-z]{1,2})$|\.gguf\.\d{2,3}$", re.IGNORECASE)
# Names that downloads have until they are complete.
UNFINISHED = (".part", ".crdownload", ".incomplete", ".aria2", ".download", ".partial", ".tmp")


def describe(head: bytes, size: int) -> tuple[str, str] | None:
    """What a file is, and what to do; None for what nobody could know. `head`: its first HEAD_BYTES, or all of it."""
    for magic, found in MAGICS.items():
        if head.startswith(magic):
            return found
    if head[TAR_OFFSET : TAR_OFFSET + len(TAR_MAGIC)] == TAR_MAGIC:
        return "a tar archive", UNPACK
    if is_safetensors(head, size):
        return "a safetensors file", CONVERT
    # Protocols 2 to 5 of pickle, as torch.save() wrote them before it made zip archives.
    if head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return "a Python pickle, which may hold PyTorch's weights", CONVERT
    if is_importance_matrix(head, size):
        return "an importance matrix (imatrix), which serves to quantize a model", "open the model itself"
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model", CONVERT
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:64].lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "an HTML page, as a download that needs a login or another link gives", AGAIN
    if text.startswith(b"<?xml"):
        return "an XML page, as a refused download gives", AGAIN
    if head.startswith(b"FROM "):
        return "a Modelfile of Ollama", "give the GGUF file that it names"
    if text.startswith((b"{", b"[")):
        return "JSON text, such as a model's configuration or the message of a refused download", AGAIN
    if head and head.strip(b"\0") == b"":
        return "nothing but zeros, as a download that was not finished leaves", AGAIN
    return None


def is_safetensors(head: bytes, size: int) -> bool:
    """Whether the file begins with the length of a JSON object, and that object."""
    length = int.from_bytes(head[:8], "little")
    return 2 <= length <= size - 8 and head[8:9] == b"{"


def is_importance_matrix(head: bytes, size: int) -> bool:
    """The form before GGUF: a count of entries, and each begins with the length and the name of a tensor."""
    n_entries, length = (int.from_bytes(head[at : at + 4], "little") for at in (0, 4))
    name = head[8 : 8 + length]
    return 0 < n_entries < 1 << 20 and 0 < length <= min(256, size - 8) and name.endswith(b".weight")


def hint_of_name(path: str) -> str:
    """What the name says of a damaged file, as the end of a sentence, or nothing."""
    name = os.path.basename(path)
    if PIECE_NAME.search(name):
        return "; by its name it is a piece of a larger file: join the pieces in order, with `cat`"
    if name.lower().endswith(UNFINISHED):
        return "; by its name its download is not finished"
    return ""


def describe_directory(path: str) -> str:
    """What a directory has that can be opened instead of it."""
    try:
        names = sorted(os.listdir(path))
    except OSError:
        names = []
    models = [name for name in names if name.lower().endswith(".gguf")]
    if models:
        more = f" and {len(models) - 3} more" if len(models) > 3 else ""
        return f"a directory; give one of the files in it: {', '.join(map(repr, models[:3]))}{more}"
    if any(name.endswith((".safetensors", ".bin")) or name == "config.json" for name in names):
        return f"a directory with a model that is not GGUF; {CONVERT}"
    return "a directory without GGUF files"
