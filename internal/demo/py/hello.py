import os
import platform
import sys

print('Hello from %s, process %d.' % (platform.node(), os.getpid()))
print('I am %s with Python %s.' % (__name__, platform.python_version()))
print('My arguments are %r, and no file of mine is on this disk: %s'
      % (sys.argv[1:], not os.path.exists(__file__)))
print('You said: %s' % sys.stdin.read())
if __name__ == '__main__':
    sys.exit(3)
