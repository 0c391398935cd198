"""Spark SQL text from Python values, for the transforms.

The surprising thing: transforms are written as SQL text, not as Column calls, because each Column call crosses from
Python into the JVM. (What that saves has not been measured yet.)
"""

from collections.abc import Iterable, Mapping


def named(expressions: Mapping[str, str]) -> list[str]:
    """What to select for columns of these names."""
    return [name if name == expression else f"{expression} AS {name}" for name, expression in expressions.items()]


def text(value: str) -> str:
    """A string literal."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\0", "\\0")
    return f"'{escaped}'"


def texts(values: Iterable[str]) -> str:
    """A list of string literals, for `IN (…)`."""
    return ", ".join(text(value) for value in values)


def binary(value: bytes) -> str:
    """A binary literal."""
    return f"X'{value.hex()}'"


def matches(subject: str, pattern: str) -> str:
    r"""Whether the whole of `subject` matches a pattern of `definitions.toml`, as Python's `re.fullmatch` sees it.

    `(?d)`: for Java a dot otherwise refuses five kinds of line end, for Python one. `\z`: `$` allows a last newline.
    """
    whole = rf"(?d)^(?:{pattern})\z"
    return f"({subject} RLIKE {text(whole)})"
