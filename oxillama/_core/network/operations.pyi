class Operation:
    name: str
    label: str
    integers: tuple[str, ...]
    floats: tuple[str, ...]

def is_row_wise(name: str) -> bool: ...
def operation_names() -> list[str]: ...
