"""Records what real programs show, and are told, from start to end, in several languages.
Prints sessions.txt.

    record.py USER PASSWORD CONFIG LOCKED_KEY PASSPHRASE > sessions.txt

Run as root, with a user whom sudo, su, doas and sshd all ask for that password (as the lab's does,
`go run ./internal/lab/cmd/lab up`), a configuration by which ssh gets to that name, and a key that
has a passphrase. Messages come from this machine's catalogues.
"""
import json, os, pty, select, subprocess, sys, tempfile

USER, PASSWORD, CONFIG, KEY, PASSPHRASE = sys.argv[1:6]
LANGUAGES = ['en', 'de', 'fr', 'ja', 'ru', 'pt_BR', 'zh_CN', 'tr']
SILENCE = 1.0   # seconds after which a program waits for an answer
SSH = ['ssh', '-F', CONFIG, '-o', 'LogLevel=ERROR', '-o', 'NumberOfPasswordPrompts=1']
RUN = ['echo', 'MITO-EC0']
# program: (argv, who starts it)
PROGRAMS = {
    'sudo': (['sudo', '-k', '-p', 'mitogen-password', '-u', 'root', '--'] + RUN, USER),
    'su': (['su', USER, '-c', ' '.join(RUN)], 'nobody'),
    'doas': (['doas'] + RUN, USER),
    'ssh': (SSH + ['-o', 'PreferredAuthentications=password', USER] + RUN, None),
    'ssh key': (['ssh', '-F', 'keyless'] + SSH[3:]
                + ['-o', 'PreferredAuthentications=publickey', '-i', KEY, USER] + RUN, None),
    'ssh host': (SSH + ['-o', 'StrictHostKeyChecking=ask', '-o', 'UserKnownHostsFile=/dev/null',
                        USER] + RUN, None),
}


def session(argv, who, language, answer):
    """Events: ('<', what was shown) and ('>', what was typed)."""
    pid, fd = pty.fork()
    if not pid:
        env = {'LC_ALL': 'C.UTF-8', 'LANGUAGE': language, 'PATH': os.environ['PATH'],
               'TERM': 'dumb'}
        if who:
            argv = ['setpriv', '--reuid', who, '--regid', 'nogroup', '--clear-groups'] + argv
        os.execvpe(argv[0], argv, env)
    events, shown, typed = [], b'', 0
    while True:
        if not select.select([fd], [], [], SILENCE * 6 if typed else SILENCE)[0]:
            if typed:
                break   # it asks again
            events += [('<', shown), ('>', answer.encode())]
            os.write(fd, answer.encode() + b'\n')
            shown, typed = b'', 1
            continue
        try:
            data = os.read(fd, 4096)
        except OSError:
            break
        if not data:
            break
        shown += data
    events.append(('<', shown))
    os.close(fd)
    os.waitpid(pid, 0)
    return events


def plain(text):
    """Without what is only this machine's."""
    text = text.decode('utf-8', 'surrogateescape')
    for ours, theirs in ((PASSWORD, 'PASSWORD'), (PASSPHRASE, 'PASSPHRASE'), (USER, 'alice'),
                         (KEY, '/home/alice/.ssh/id'), (os.uname().nodename, 'web1')):
        text = text.replace(ours, theirs)
    return text


lines = [l for l in open(CONFIG) if 'IdentityFile' not in l]
os.chdir(tempfile.mkdtemp())
with open('keyless', 'w') as f:
    f.writelines(lines)
versions = [p + ' ' + subprocess.check_output(['dpkg-query', '-W', '-f', '${Version}', p]).decode()
            for p in ('sudo', 'libpam-runtime', 'util-linux', 'opendoas', 'openssh-client')]
print('# What was shown (<) and typed (>), as JSON strings, made by record.py: '
      + ', '.join(versions) + '.')
for program, (argv, who) in PROGRAMS.items():
    right = PASSPHRASE if program == 'ssh key' else PASSWORD
    cases = [('right', right), ('wrong', 'not-it')]
    if program == 'ssh host':
        cases = [('question', 'no')]
    for language in ['en'] if program.startswith('ssh') else LANGUAGES:
        for name, answer in cases:
            print('== %s, %s, %s' % (program, language, name))
            for way, text in session(argv, who, language, answer):
                print(way, json.dumps(plain(text), ensure_ascii=False))
