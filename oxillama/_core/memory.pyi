import numpy as np
import numpy.typing as npt

class Pages:
    size: int
    def __init__(self, size: int) -> None: ...

def drop_file_pages(view: npt.NDArray[np.uint8]) -> None: ...
