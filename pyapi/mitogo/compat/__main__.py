"""python -m mitogo.compat PROGRAM [ARG…]: runs a program with the API of Mitogen on its path."""

from __future__ import annotations

import runpy
import sys

from . import install


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit('usage: python -m mitogo.compat PROGRAM [ARG…], or -m MODULE [ARG…]')
    del sys.argv[0]
    install()
    if sys.argv[0] == '-m' and len(sys.argv) > 1:
        del sys.argv[0]
        runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name='__main__')


main()
