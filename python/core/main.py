"""What runs once all is defined."""
from _mitogen import (FDS, PID, POLL, POLLIN, Stream, arm, high, later, os, posix, private,
    start, stdio, whole, woken)

# In another group a terminal's reader would be stopped.
if os.getpgrp() != PID and not os.isatty(0):
    try:
        os.setpgid(0, 0)
    except OSError:
        pass
GROUP = os.getpgrp()
ERR = high(2)
private(ERR, 1)
WAKE = posix.pipe()
for fd in WAKE:
    private(fd)
FDS[WAKE[0]] = woken
POLL.register(WAKE[0], POLLIN)
UP = Stream(high(0), high(1))
for n in dir(posix):    # what programs are started by; posix_s: posix_spawn and posix_spawnp
    if n[:7] in 'pipe pipe2 fork forkpty execv execve system popen posix_s'.split():
        later('_mitogen_guard', os.__dict__, n)
whole(lambda: (stdio(), arm(), start()))
