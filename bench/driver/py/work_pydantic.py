"""Imports pydantic, which needs an extension module, when it is imported itself."""
import pydantic


def loaded():
    return len(pydantic.VERSION)
