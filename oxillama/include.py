"""Where other packages find what they compile against."""

from __future__ import annotations

from pathlib import Path


def get_include() -> str:
    """The folder of the C headers that the ``.pxd`` files of the wheel name; add it to your ``include_dirs``.

    A Cython module can then ``cimport`` the request ring (``oxillama._core.ring``, ``oxillama._core.request``) and
    submit or consume without the GIL; see ``examples/native_ring.py``.
    """
    return str(Path(__file__).parent / "_core" / "csrc")
