"""Questions that the engine asks, put on the terminal."""

from __future__ import annotations

import os

from . import errors
from ._primitives import Lock, RLock, deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Optional


class _Questions:
    """Puts questions one after another, in a thread of its own: a process has one terminal."""

    def __init__(self) -> None:
        self._waiting: Deque[Callable[[], None]] = deque()
        self._lock = Lock()

    def add(self, put: Callable[[], None]) -> None:
        """Have put called once all questions before it are answered or void."""
        with self._lock:
            self._waiting.append(put)
            if len(self._waiting) > 1:
                return
        import threading

        threading.Thread(target=self._run, name='mitogo prompt', daemon=True).start()

    def _run(self) -> None:
        while True:
            self._waiting[0]()
            with self._lock:
                self._waiting.popleft()
                if not self._waiting:
                    return


_questions = _Questions()


def _on_terminal(hop: str, kind: str, text: str, void: Callable[[], bool]) -> Optional[str]:
    """Ask on the terminal. None: there is no terminal, or the question has become void."""
    try:
        tty = os.open('/dev/tty', os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return None
    try:
        question = _marked(hop, text).encode('utf-8', 'replace')
        if kind == 'notice':
            os.write(tty, question + b'\n')
            return ''
        if void():
            return None
        return _typed(tty, question + b' ', kind in ('host key', 'confirm'), void)
    finally:
        os.close(tty)


def _marked(hop: str, text: str) -> str:
    """text with the hop before each line: a server may word it."""
    lines = text.strip().splitlines() or ['']
    return '\n'.join('%s: %s' % (errors.line(hop), errors.line(t)) for t in lines)


def _typed(tty: int, question: bytes, shown: bool, void: Callable[[], bool]) -> Optional[str]:
    """The line that is typed after the question. What was typed before it belongs to another."""
    import select

    poll = select.poll()
    poll.register(tty, select.POLLIN)
    if not _settings.change(tty, shown):
        return None
    try:
        os.write(tty, question)
        while not poll.poll(100):
            if void():
                os.write(tty, b'\n(this question is void)\n')
                return None
        line = os.read(tty, 65536)
        if not shown:
            os.write(tty, b'\n')
        return line.decode('utf-8', 'replace').rstrip('\r\n') if line else None
    finally:
        _settings.restore()


class _Settings:
    """Settings of the terminal. A question changes them, and the end of the process, which doesn't
    wait for the thread that asks, sets them back.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._tty = -1
        self._before: Any = None  # what to set back; None: nothing is changed
        self._ended = False

    def change(self, tty: int, shown: bool) -> bool:
        """Have the terminal read a line, and show what is typed or not. False: too late to ask."""
        import termios

        with self._lock:
            if self._ended:
                return False
            now = termios.tcgetattr(tty)
            self._tty, self._before = tty, termios.tcgetattr(tty)
            now[3] |= termios.ICANON
            now[3] = now[3] | termios.ECHO if shown else now[3] & ~termios.ECHO
            termios.tcsetattr(tty, termios.TCSAFLUSH, now)
            return True

    def restore(self) -> None:
        """Set back what was changed."""
        import termios

        with self._lock:
            before, self._before = self._before, None
            if before is not None:
                termios.tcsetattr(self._tty, termios.TCSAFLUSH, before)

    def end(self) -> None:
        """Set back what was changed, and change nothing any more."""
        with self._lock:
            self._ended = True
            if self._before is None:
                return
            import termios

            try:
                self.restore()
            except termios.error:
                pass  # the terminal has gone


_settings = _Settings()
