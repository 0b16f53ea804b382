"""Runs the examples of a page of docs/python, each as a program of its own, and compares what they
print with the text that follows them: guides.py PAGE. "…" in the text stands for anything.

web1, web2 and bastion are this machine: programs ssh and sudo stand for the real ones.
"""
import os
import re
import subprocess
import sys
import tempfile

FENCE = re.compile(r'^```(\w+)\n(.*?)^```$', re.M | re.S)

SSH = r'''#!/bin/sh
# Stands for ssh: a host is this machine, unless its name says that it isn't there.
while [ $# -gt 0 ]; do
	case $1 in
	-G) echo "hostname there"; exit ;;
	-V) echo OpenSSH_9.2 >&2; exit ;;
	-[bcDEeFIiJLlmOopQRSWw]) shift ;;
	-*) ;;
	*) break ;;
	esac
	shift
done
case $1 in
*invalid*) echo "ssh: Could not resolve hostname $1: Name or service not known" >&2; exit 255 ;;
esac
shift
[ "$1" = -- ] && shift
exec sh -c "$*"
'''

SUDO = r'''#!/bin/sh
# Stands for sudo: runs the command as it is.
while [ $# -gt 0 ]; do
	case $1 in
	-[uprCgh]) shift ;;
	--) shift; break ;;
	-*) ;;
	*=*) export "$1" ;;
	*) break ;;
	esac
	shift
done
exec "$@"
'''


def examples(page):
    """(language, file name, words of the interpreter, source, what it prints or None) of a page."""
    found = []
    blocks = FENCE.findall(page)
    for i, (kind, source) in enumerate(blocks):
        if kind == 'text':
            continue
        first = source.partition('\n')[0]
        name, _, command = first[2:].partition(': ')
        if not first.startswith('# ') or '.' not in name:
            raise SystemExit('an example without a file name: %r' % first)
        follows = i + 1 < len(blocks) and blocks[i + 1][0] == 'text'
        want = blocks[i + 1][1] if follows else None
        found.append((kind, name, command.split()[1:-1], source, want))
    return found


def main(page):
    ran = failed = 0
    with tempfile.TemporaryDirectory() as d:
        for name, text in (('ssh', SSH), ('sudo', SUDO)):
            with open(os.path.join(d, name), 'w') as f:
                f.write(text)
            os.chmod(f.name, 0o755)
        env = dict(os.environ, PATH=d + ':' + os.environ['PATH'])
        with open(page, encoding='utf-8') as f:
            found = examples(f.read())
        for kind, name, words, source, want in found:
            with open(os.path.join(d, name), 'w', encoding='utf-8') as f:
                f.write(source)
            if kind != 'python':
                continue
            p = subprocess.run(
                [sys.executable] + words + [name],
                cwd=d,
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=120,
            )
            ran += 1
            got = p.stdout.decode('utf-8')
            pattern = re.escape(want or '').replace('…', '.*')
            if p.returncode or want is None or not re.fullmatch(pattern, got):
                failed += 1
                print('%s: %s: got status %d and\n%s\nwant\n%s' % (page, name, p.returncode, got, want))
    print('%d examples' % ran)
    return failed


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]) > 0)
