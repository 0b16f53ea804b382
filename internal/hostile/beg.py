"""An entered account that begs for the password of the account that enters it.

Arguments: a file for what it gets, how it begs, and for how many seconds. It asks as sudo, su, doas
and sudo-rs do, on the terminal that it was entered by, with the echo turned off, as they have it.
"""
import os
import select
import signal
import sys
import termios
import time

LOOT, HOW, SECONDS = sys.argv[1], sys.argv[2], float(sys.argv[3])
PROMPTS = ['mitogen-password', '[sudo: mitogen-password] Password: ', 'Password: ',
           'doas (me@here) password: ',
           '[sudo] password for me: ', 'Contrase\u00f1a: ']


def note(text):
    fd = os.open(LOOT, os.O_WRONLY | os.O_APPEND)
    os.write(fd, (text + '\n').encode())
    os.close(fd)


def terminal():
    try:
        return os.open('/dev/tty', os.O_RDWR | os.O_NOCTTY)
    except OSError:
        for fd in (0, 1):       # su's command is in another session
            if os.isatty(fd):
                return os.dup(fd)


def quiet(fd):
    mode = termios.tcgetattr(fd)
    mode[3] &= ~termios.ECHO
    termios.tcsetattr(fd, termios.TCSANOW, mode)


def beg(fd, out, pause):
    note('begs')
    end, n = time.time() + SECONDS, 0
    while time.time() < end:
        os.write(out, ('\r\n' + PROMPTS[n // 4 % len(PROMPTS)]).encode())
        n += 1
        if select.select([fd], [], [], pause)[0]:
            got = os.read(fd, 4096)
            if not got:
                break
            note('got %r' % got)
    note('begged %d times' % n)


def become(fd):
    """Become a sudo that asks, while a process that isn't its child reads what that is told."""
    note('begs')
    asker = os.getpid()
    if os.fork() == 0:
        if os.fork() == 0:
            signal.signal(signal.SIGALRM, lambda *args: os.kill(asker, signal.SIGKILL))
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
            note('got %r' % os.read(fd, 4096))      # who has begun to read is given the next line
        os._exit(0)
    os.wait()
    time.sleep(0.1)
    os.execv('/usr/bin/sudo', ['sudo', '-p', PROMPTS[0], 'true'])


def main():
    fd = terminal()
    if fd is None:
        return note('no terminal')
    try:
        quiet(fd)
    except termios.error:
        note('echo stays')
    if HOW == 'becomes':
        return become(fd)
    if HOW == 'stays':          # and goes on
        return beg(fd, fd, 0.02)
    if HOW == 'stderr':
        return beg(fd, 2, 0.02)
    # It leaves a process that has the terminal, but isn't in the tree of the program that asks, and
    # ends the command. Between the command's end and that program's own, only this
    # process is there.
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            beg(fd, fd, 0.0005)
        os._exit(0)
    os.wait()
    while not os.path.getsize(LOOT):        # it doesn't beg yet
        time.sleep(0.001)
    time.sleep(0.02)
    os.killpg(0, 9) if HOW == 'kills' else os._exit(0)


main()
