"""Objects of the user's own Python, named on the command line."""

from __future__ import annotations

import sys
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

from rag_compress.errors import InvalidInput


def named_object(name: str) -> Any:
    """Returns the object of `module:object`; modules of the current folder are found too.

    Raises:
        InvalidInput: There is no such object, or its module cannot be imported.
    """
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise InvalidInput(f"Name an object as module:object, not {name!r}")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return attrgetter(attribute)(import_module(module))
    except (ImportError, AttributeError) as error:
        raise InvalidInput(f"Cannot find {name!r}: {error}") from error
    except Exception as error:  # whatever the user's module does when it is imported
        raise InvalidInput(f"Cannot import {module!r}: {type(error).__name__}: {error}") from error
