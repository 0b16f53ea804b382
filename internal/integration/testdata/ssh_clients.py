"""Clients with an SSH of their own, by the configuration in $MITOGEN_SSH_CONFIG, whose host web is
an account of root: each does what its library has, and prints `well`."""
import asyncio
import os
import socket
import sys
import tempfile
import threading
import time

CONFIG = os.environ['MITOGEN_SSH_CONFIG']


def want(what, got, wanted):
    if got != wanted:
        sys.exit('%s: got %r, want %r' % (what, got, wanted))


def configured():
    """Returns the configuration of web, for libraries that read none."""
    hosts, current = {}, None
    for line in open(CONFIG):
        name, value = line.strip().split(' ', 1)
        if name == 'Host':
            current = hosts.setdefault(value, {})
        else:
            current.setdefault(name, value.strip('"'))
    return hosts['web']


def upper():
    """Returns the port of a server that answers in capitals, after the end of what it is sent."""
    server = socket.create_server(('127.0.0.1', 0))

    def serve():
        while True:
            client = server.accept()[0]
            data = b''.join(iter(lambda: client.recv(1000), b''))
            client.sendall(data.upper())
            client.close()
    threading.Thread(target=serve, daemon=True).start()
    return server.getsockname()[1]


def connect_paramiko(**other):
    import paramiko
    found = paramiko.SSHConfig.from_path(CONFIG).lookup('web')
    client = paramiko.SSHClient()
    client.load_host_keys(found['userknownhostsfile'].strip('"'))
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    sock = None
    if 'proxycommand' in found:
        sock = paramiko.ProxyCommand(found['proxycommand'])
    options = dict(
        hostname=found['hostname'], port=int(found.get('port', 22)), username=found['user'],
        key_filename=found['identityfile'], sock=sock, allow_agent=False, look_for_keys=False)
    options.update(other)
    client.connect(**options)
    return client


def paramiko():
    import paramiko
    client = connect_paramiko()
    stdin, stdout, stderr = client.exec_command('cat; echo err >&2; echo $A; exit 7',
                                                environment={'A': 'b c'})
    stdin.write('data')
    stdin.channel.shutdown_write()
    want('exec', (stdout.read(), stderr.read(), stdout.channel.recv_exit_status()),
         (b'datab c\n', b'err\n', 7))
    transport = client.get_transport()
    channel = transport.open_session()
    channel.get_pty('vt100', 91, 31)
    channel.exec_command('stty size; echo $TERM; trap "stty size; exit 3" WINCH; echo ready; '
                         'while :; do sleep .1; done')
    said = b''
    while b'ready' not in said:
        said += channel.recv(1000)
    channel.resize_pty(100, 40)
    said += b''.join(iter(lambda: channel.recv(1000), b''))
    want('pty', (said, channel.recv_exit_status()),
         (b'31 91\r\nvt100\r\nready\r\n40 100\r\n', 3))
    channel = transport.open_session()
    channel.exec_command('kill -9 $$')
    want('killed', channel.recv_exit_status(), -1)
    files = client.open_sftp()
    there = tempfile.mktemp()
    with files.open(there, 'w') as f:
        f.write(b'x' * 1000000)
    want('sftp', (files.stat(there).st_size, files.stat(there).st_uid), (1000000, 0))
    files.remove(there)
    port = upper()
    channel = transport.open_channel('direct-tcpip', ('127.0.0.1', port), ('127.0.0.1', 0))
    channel.sendall(b'hello')
    channel.shutdown_write()
    want('direct-tcpip', b''.join(iter(lambda: channel.recv(100), b'')), b'HELLO')
    channel = transport.open_channel('direct-tcpip', ('127.0.0.1', port), ('127.0.0.1', 0))
    channel.sendall(b'hello')
    channel.close()  # what was sent arrives, and nothing hangs
    try:
        transport.open_channel('direct-tcpip', ('127.0.0.1', 1), ('127.0.0.1', 0))
        sys.exit('direct-tcpip to a closed port: got a channel')
    except paramiko.ChannelException as e:
        want('direct-tcpip to a closed port', e.code, 2)
    port = transport.request_port_forward('', 0)
    near = socket.create_connection(('127.0.0.1', port))
    far = transport.accept(20)
    far.sendall(b'abc')
    far.close()
    want('forwarded', b''.join(iter(lambda: near.recv(100), b'')), b'abc')
    transport.cancel_port_forward('', port)
    end = time.time() + 20
    while True:
        try:
            socket.create_connection(('127.0.0.1', port)).close()
        except ConnectionRefusedError:
            break
        except ConnectionResetError:
            pass    # it was still accepted
        if time.time() > end:
            sys.exit('forwarded port: it listens after it was cancelled')
    channel = transport.open_session()
    try:
        channel.invoke_subsystem('netconf')
        sys.exit('subsystem netconf: got no error')
    except paramiko.SSHException:
        pass
    client.close()
    for user, status in (('root', 0), ('nobody-else', 255)):
        client = connect_paramiko(username=user)
        want(user, client.exec_command('true')[1].channel.recv_exit_status(), status)
        client.close()
    try:
        connect_paramiko(key_filename=None, pkey=paramiko.RSAKey.generate(2048))
        sys.exit('another key: let in')
    except paramiko.AuthenticationException:
        pass


def fabric():
    import fabric
    import paramiko
    config = fabric.Config(runtime_ssh_path=CONFIG)
    with fabric.Connection('web', config=config) as c:
        c.client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        result = c.run('id -un; exit 3', warn=True, hide=True, in_stream=False)
        want('run', (result.stdout, result.exited), ('root\n', 3))
        there = tempfile.mktemp()
        c.put(__file__, there)
        want('put', c.run('wc -c <' + there, hide=True, in_stream=False).stdout.strip(),
             str(os.path.getsize(__file__)))
        c.run('rm ' + there, in_stream=False)


def asyncssh():
    asyncio.run(use_asyncssh())


async def use_asyncssh():
    import asyncssh
    async with asyncssh.connect('web', config=[CONFIG], agent_path=None) as c:
        result = await c.run('cat; exit 4', input='in')
        want('run', (result.stdout, result.exit_status), ('in', 4))
        result = await c.run('kill -TERM $$')
        want('signal', result.exit_signal[0], 'TERM')
        process = await c.create_process('echo ready; exec sleep 1000')
        await process.stdout.readline()
        process.send_signal('USR1')
        want('its signal', (await process.wait()).exit_signal[0], 'USR1')
        process = await c.create_process(None, term_type='xterm', term_size=(90, 30))
        process.stdin.write('stty size; exit 9\n')
        result = await process.wait()
        want('shell', ('30 90' in result.stdout, result.exit_status), (True, 9))
        with tempfile.TemporaryDirectory() as d:
            here, there = d + '/here', d + '/there'
            server = await asyncio.start_unix_server(
                lambda r, w: (w.write(b'abc'), w.close()), here)
            listener = await c.forward_remote_path(there, here)
            reader, writer = await asyncio.open_unix_connection(there)
            want('forwarded socket', await reader.read(), b'abc')
            writer.close()
            listener.close()
            await listener.wait_closed()
            reader, writer = await c.open_unix_connection(here)
            want('direct socket', await reader.read(), b'abc')
            writer.close()
            server.close()


def libssh():
    from ssh import options, session
    from ssh.key import import_privkey_file
    host = configured()
    s = session.Session()
    s.options_set(options.HOST, host['HostName'])
    s.options_set_port(int(host['Port']))
    s.options_set(options.USER, host['User'])
    s.connect()
    s.userauth_publickey(import_privkey_file(host['IdentityFile']))
    channel = s.channel_new()
    channel.open_session()
    channel.request_exec('id -un; exit 3')
    want('exec', channel.read(100)[1], b'root\n')
    channel.read(100)
    channel.close()
    want('exec', channel.get_exit_status(), 3)


def libssh2():
    from ssh2.session import Session
    host = configured()
    s = Session()
    s.handshake(socket.create_connection((host['HostName'], int(host['Port']))))
    s.userauth_publickey_fromfile(host['User'], host['IdentityFile'])
    channel = s.open_session()
    channel.execute('id -un; exit 6')
    want('exec', channel.read()[1], b'root\n')
    channel.wait_eof()
    channel.close()
    channel.wait_closed()
    want('exec', channel.get_exit_status(), 6)


globals()[sys.argv[1]]()
print('well')
