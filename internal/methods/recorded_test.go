package methods

import (
	"errors"
	"strings"
	"testing"

	"github.com/mitogen-go/mitogen/connect"
)

// A recorded failure is the output of a real program, and the error that it becomes.
type recorded struct {
	name     string // what was wrong
	method   string
	status   int
	kind     error
	line     string // a part of the line that is shown; "": none is
	hint     string // a part of the hint
	loggedIn bool
	passing  bool
	// stdout, then stderr: COMMAND and CODE stand for the boot command and its last word
	words string
}

// failures were recorded with OpenSSH 9.2, sudo 1.9, util-linux 2.38 (su, nsenter), opendoas,
// podman 4.3, docker 20.10, kubectl 1.33, coreutils 9.1 (chroot), lxc 5.0, systemd 252, and the
// shells and interpreters of Debian 12.
var failures = []recorded{
	{name: "rexpired pam", method: "ssh", status: 255, kind: connect.ErrAuth,
		line: "Your account has expired; please contact your system administrator.",
		hint: "account there has expired",
		words: "Warning: Permanently added '[127.0.0.1]:37655' (ED25519) to the list of known hosts.\n" +
			"Your account has expired; please contact your system administrator.\nConnection closed by " +
			"127.0.0.1 port 37655\n"},
	{name: "rpwexp pam", method: "ssh", status: 1, kind: connect.ErrAuth,
		line: "WARNING: Your password has expired.", hint: "password there has expired", loggedIn: true,
		words: "Warning: Permanently added '[127.0.0.1]:37655' (ED25519) to the list of known hosts.\n" +
			"You are required to change your password immediately (administrator enforced).\n" +
			"Authenticated to 127.0.0.1 ([127.0.0.1]:37655) using \"publickey\".\nWARNING: Your password " +
			"has expired.\nPassword change required but no TTY available.\nTransferred: sent 3832, " +
			"received 3540 bytes, in 0.1 seconds\nBytes per second: sent 41736.6, received 38556.3\n"},
	{name: "rnologin nopam", method: "ssh", status: 1, kind: connect.ErrNotPermitted,
		line: "This account is currently not available.", hint: "takes no logins", loggedIn: true,
		words: "This account is currently not available.\nWarning: Permanently added " +
			"'[127.0.0.1]:33175' (ED25519) to the list of known hosts.\nAuthenticated to 127.0.0.1 " +
			"([127.0.0.1]:33175) using \"publickey\".\nTransferred: sent 3832, received 3364 bytes, in " +
			"0.1 seconds\nBytes per second: sent 55819.4, received 49002.2\n"},
	{name: "rfalse nopam", method: "ssh", status: 1, kind: connect.ErrDied, line: "",
		hint: "plain ssh to see why", loggedIn: true,
		words: "Warning: Permanently added '[127.0.0.1]:33175' (ED25519) to the list of known hosts.\n" +
			"Authenticated to 127.0.0.1 ([127.0.0.1]:33175) using \"publickey\".\nTransferred: sent 3832, " +
			"received 3304 bytes, in 0.1 seconds\nBytes per second: sent 67678.8, received 58353.5\n"},
	{name: "rnoshell nopam", method: "ssh", status: 255, kind: connect.ErrAuth,
		line: "rnoshell@127.0.0.1: Permission denied (publickey,password).", hint: "give a password",
		words: "Warning: Permanently added '[127.0.0.1]:33175' (ED25519) to the list of known hosts.\n" +
			"rnoshell@127.0.0.1: Permission denied (publickey,password).\n"},
	{name: "rforce nopam", method: "ssh", status: 1, kind: connect.ErrNotPermitted, line: "refused: ",
		hint: "forced command", loggedIn: true,
		words: "refused: 'sh' '-c' 'export PYTHONSAFEPATH=1;for p in python3 python python2.7 python2 " +
			"/usr/libexec/platform-*;do e=`type $p 2>&1`&&exec $p -c \"$0\";done;MITO-'\\'NOPY' 'CODE'\n" +
			"Warning: Permanently added '[127.0.0.1]:33175' (ED25519) to the list of known hosts.\n" +
			"Authenticated to 127.0.0.1 ([127.0.0.1]:33175) using \"publickey\".\nTransferred: sent 3832, " +
			"received 3692 bytes, in 0.1 seconds\nBytes per second: sent 54271.2, received 52288.4\n"},
	{name: "rgit nopam", method: "ssh", status: 128, kind: connect.ErrNotPermitted,
		line: "fatal: unrecognized command", hint: "git-shell", loggedIn: true,
		words: "Warning: Permanently added '[127.0.0.1]:33175' (ED25519) to the list of known hosts.\n" +
			"Authenticated to 127.0.0.1 ([127.0.0.1]:33175) using \"publickey\".\nfatal: unrecognized " +
			"command 'COMMAND'\nTransferred: sent 3824, received 3716 bytes, in 0.1 seconds\nBytes per " +
			"second: sent 69150.4, received 67197.4\n"},
	{name: "rlimit pam", method: "ssh", status: 254, kind: connect.ErrNotPermitted,
		line: "There were too many logins for 'rlimit'.", hint: "maxlogins", loggedIn: true,
		words: "Linux vm 6.18.44-fc-v782 #1 SMP PREEMPT_DYNAMIC @0 x86_64\n\nThe programs included " +
			"with the Debian GNU/Linux system are free software;\nthe exact distribution terms for each " +
			"program are described in the\nindividual files in /usr/share/doc/*/copyright.\n\nDebian " +
			"GNU/Linux comes with ABSOLUTELY NO WARRANTY, to the extent\npermitted by applicable law.\n" +
			"There were too many logins for 'rlimit'.\nWarning: Permanently added '[127.0.0.1]:37655' " +
			"(ED25519) to the list of known hosts.\nAuthenticated to 127.0.0.1 ([127.0.0.1]:37655) using " +
			"\"publickey\".\nTransferred: sent 3832, received 3708 bytes, in 0.2 seconds\nBytes per " +
			"second: sent 21357.5, received 20666.4\n"},
	{name: "rchroot nopam", method: "ssh", status: 255, kind: connect.ErrDisconnected,
		line: "client_loop: send disconnect: Broken pipe", hint: "login was accepted", loggedIn: true,
		passing: true,
		words: "Warning: Permanently added '[127.0.0.1]:33175' (ED25519) to the list of known " +
			"hosts.\nAuthenticated to 127.0.0.1 ([127.0.0.1]:33175) using \"publickey\".\nclient_loop: " +
			"send disconnect: Broken pipe\n"},
	{name: "rsftp nopam", method: "ssh", status: 1, kind: connect.ErrNotPermitted,
		line: "This service allows sftp connections only.", hint: "sftp alone", loggedIn: true,
		words: "This service allows sftp connections only.\nWarning: Permanently added " +
			"'[127.0.0.1]:33175' (ED25519) to the list of known hosts.\nAuthenticated to 127.0.0.1 " +
			"([127.0.0.1]:33175) using \"publickey\".\nTransferred: sent 3832, received 3372 bytes, in " +
			"0.1 seconds\nBytes per second: sent 58210.0, received 51222.4\n"},
	{name: "rtwo nopam", method: "ssh", status: 255, kind: connect.ErrAuth,
		line: "rtwo@127.0.0.1: Permission denied (password).", hint: "more than one proof",
		words: "Warning: Permanently added '[127.0.0.1]:33175' (ED25519) to the list of known hosts.\n" +
			"Authenticated using \"publickey\" with partial success.\nrtwo@127.0.0.1: Permission denied " +
			"(password).\n"},
	{name: "rforceecho nopam", method: "ssh", status: 3, kind: connect.ErrNotPermitted, line: "…",
		hint: "forced command", loggedIn: true,
		words: "Warning: Permanently added '[127.0.0.1]:33175' (ED25519) to the list of known hosts.\n" +
			"Authenticated to 127.0.0.1 ([127.0.0.1]:33175) using \"publickey\".\n'sh' '-c' 'export " +
			"PYTHONSAFEPATH=1;for p in python3 python python2.7 python2 /usr/libexec/platform-*;do " +
			"e=`type $p 2>&1`&&exec $p -c \"$0\";done;MITO-'\\'NOPY' 'CODE'\nTransferred: sent 3848, " +
			"received 3692 bytes, in 0.1 seconds\nBytes per second: sent 49288.5, received 47290.3\n"},
	{name: "rexit nopam", method: "ssh", status: 255, kind: connect.ErrDied, line: "",
		hint: "plain ssh to see why", loggedIn: true,
		words: "Warning: Permanently added '[127.0.0.1]:33175' (ED25519) to the list of known hosts.\n" +
			"Authenticated to 127.0.0.1 ([127.0.0.1]:33175) using \"publickey\".\nTransferred: sent 3832, " +
			"received 3304 bytes, in 0.1 seconds\nBytes per second: sent 55655.8, received 47987.2\n"},
	{name: "nologin pam", method: "ssh", status: 255, kind: connect.ErrDisconnected,
		line: "Maintenance until 6 pm, ask ops.", hint: "sshd's log",
		words: "Warning: Permanently added '[127.0.0.1]:37655' (ED25519) to the list of known hosts.\n" +
			"Maintenance until 6 pm, ask ops.\n\nConnection closed by 127.0.0.1 port 37655\n"},
	{name: "nologin nopam", method: "ssh", status: 254, kind: connect.ErrNotPermitted,
		line: "Maintenance until 6 pm, ask ops.", hint: "/etc/nologin", loggedIn: true,
		words: "Warning: Permanently added '[127.0.0.1]:33175' (ED25519) to the list of known hosts.\n" +
			"Authenticated to 127.0.0.1 ([127.0.0.1]:33175) using \"publickey\".\nUser rok not allowed " +
			"because /etc/nologin exists\nMaintenance until 6 pm, ask ops.\nTransferred: sent 3824, " +
			"received 3440 bytes, in 0.1 seconds\nBytes per second: sent 51303.5, received 46151.7\n"},
	{name: "systemd nologin pam", method: "ssh", status: 255, kind: connect.ErrDisconnected,
		line: `"System is going down.`, hint: "/etc/nologin",
		words: "Warning: Permanently added '[127.0.0.1]:37655' (ED25519) to the list of known hosts.\n" +
			"\"System is going down. Unprivileged users are not permitted to log in anymore. For " +
			"technical details, see pam_nologin(8).\"\n\nConnection closed by 127.0.0.1 port 37655\n"},
	{name: "banner wrong user", method: "ssh", status: 255, kind: connect.ErrAuth,
		line: "nobodyatall@127.0.0.1: Permission denied (publickey,password).", hint: "give a password",
		words: "Warning: Permanently added '[127.0.0.1]:39109' (ED25519) to the list of known hosts.\n" +
			"Authorized use only.\nAll is logged.\nnobodyatall@127.0.0.1: Permission denied " +
			"(publickey,password).\n"},
	{name: "maxstartups", method: "ssh", status: 255, kind: connect.ErrDisconnected,
		line: "Connection reset by 127.0.0.1 port", hint: "MaxStartups", passing: true,
		words: "kex_exchange_identification: read: Connection reset by peer\nConnection reset by " +
			"127.0.0.1 port 41561\n"},
	{name: "maxsessions 0", method: "ssh", status: 255, kind: connect.ErrDisconnected,
		line: "channel 0: open failed: connect failed: open failed", hint: "MaxSessions", loggedIn: true,
		words: "Warning: Permanently added '[127.0.0.1]:37733' (ED25519) to the list of known hosts.\n" +
			"Authenticated to 127.0.0.1 ([127.0.0.1]:37733) using \"publickey\".\nchannel 0: open failed: " +
			"connect failed: open failed\nTransferred: sent 3396, received 3204 bytes, in 0.1 seconds\n" +
			"Bytes per second: sent 62959.1, received 59399.6\n"},
	{name: "kex", method: "ssh", status: 255, kind: connect.ErrSetup,
		line: "Unable to negotiate with 127.0.0.1 port", hint: "share no algorithm",
		words: "Unable to negotiate with 127.0.0.1 port 41815: no matching key exchange method found. " +
			"Their offer: diffie-hellman-group14-sha1,kex-strict-s-v00@openssh.com\n"},
	{name: "remotecommand", method: "ssh", status: 255, kind: connect.ErrSetup,
		line: "Cannot execute command-line and remote command.", hint: "RemoteCommand",
		words: "Cannot execute command-line and remote command.\n"},
	{name: "controlpath", method: "ssh", status: 255, kind: connect.ErrSetup,
		line:  "ControlPath too long (",
		hint:  "shorten ControlPath",
		words: "ControlPath too long ('/tmp/xxxxxxxxxxxxxxxxxxxx' >= 108 bytes)\n"},
	{name: "controlpath long for listener", method: "ssh", status: 255, kind: connect.ErrSetup,
		line: "unix_listener: path", hint: "shorten ControlPath", loggedIn: true,
		words: "Warning: Permanently added '[127.0.0.1]:33175' (ED25519) to the list of known hosts.\n" +
			"Authenticated to 127.0.0.1 ([127.0.0.1]:33175) using \"publickey\".\nunix_listener: path " +
			"\"/tmp/xxxxxxxxxxxxxxxxxxxx.7pgyeO9ImcCvyk4z\" too long for Unix domain socket\n"},
	{name: "include loop", method: "ssh", status: 255, kind: connect.ErrSetup,
		line: "Too many recursive configuration includes", hint: "includes itself",
		words: "Too many recursive configuration includes\n"},
	{name: "missing -F", method: "ssh", status: 255, kind: connect.ErrSetup,
		line: "Can't open user config file /nonexistent/cfg: No such file or directory", hint: "-F names",
		words: "Can't open user config file /nonexistent/cfg: No such file or directory\n"},
	{name: "bad option", method: "ssh", status: 255, kind: connect.ErrSetup,
		line: ": line 2: Bad configuration option: foo", hint: "ssh -G",
		words: "/w/cfg46: line 2: Bad configuration option: foo\n/w/cfg46: terminating, 1 bad " +
			"configuration options\n"},
	{name: "missing arg", method: "ssh", status: 255, kind: connect.ErrSetup,
		line: `line 1: no argument after keyword "port"`, hint: "ssh -G",
		words: "/w/cfg47 line 1: no argument after keyword \"port\"\n/w/cfg47: terminating, 1 bad " +
			"configuration options\n"},
	{name: "bad number", method: "ssh", status: 255, kind: connect.ErrSetup,
		line: "line 1: invalid time value.", hint: "ssh -G",
		words: "/w/cfg48 line 1: invalid time value.\n/w/cfg48: terminating, 1 bad configuration " +
			"options\n"},
	{name: "extra args", method: "ssh", status: 255, kind: connect.ErrSetup,
		line: "line 1: keyword user extra arguments at end of line", hint: "ssh -G",
		words: "/w/cfg50 line 1: keyword user extra arguments at end of line\n/w/cfg50: terminating, 1 " +
			"bad configuration options\n"},
	{name: "bad token", method: "ssh", status: 255, kind: connect.ErrSetup,
		line: "vdollar_percent_expand: unknown key %q", hint: "ssh -G",
		words: "vdollar_percent_expand: unknown key %q\npercent_dollar_expand: failed\n"},
	{name: "user with a backslash", method: "ssh", status: 255, kind: connect.ErrSetup,
		line: "remote username contains invalid characters", hint: "by User in a section",
		words: "remote username contains invalid characters\n"},
	{name: "jump, user with a backslash", method: "ssh", status: 255, kind: connect.ErrSetup,
		line: `parse_jump: invalid username "a\\b"`, hint: "by User in a section",
		words: "parse_jump: invalid username \"a\\\\b\"\nInvalid -J argument\n"},
	{name: "jump, user with a dollar", method: "ssh", status: 255, kind: connect.ErrSetup,
		line: `parse_jump: invalid username "j$"`, hint: "by User in a section",
		words: "parse_jump: invalid username \"j$\"\nInvalid -J argument\n"},
	{name: "bad cipher", method: "ssh", status: 255, kind: connect.ErrSetup,
		line: "line 1: Bad SSH2 cipher spec 'foo'.", hint: "ssh -G",
		words: "/w/cfg52 line 1: Bad SSH2 cipher spec 'foo'.\n/w/cfg52: terminating, 1 bad " +
			"configuration options\n"},
	{name: "bad match", method: "ssh", status: 255, kind: connect.ErrSetup,
		line: "line 1: Bad Match condition", hint: "ssh -G",
		words: "Missing Match criteria for foo\n/w/cfg56 line 1: Bad Match condition\n/w/cfg56: " +
			"terminating, 1 bad configuration options\n"},
	{name: "unknown flag", method: "ssh", status: 255, kind: connect.ErrSetup,
		line: "unknown option -- @",
		hint: "ssh -G",
		words: "unknown option -- @\nusage: ssh [-46AaCfGgKkMNnqsTtVvXxYy] [-B bind_interface]\n       " +
			"    [-b bind_address] [-c cipher_spec] [-D [bind_address:]port]\n           [-E log_file] " +
			"[-e escape_char] [-F configfile] [-I pkcs11]\n           [-i identity_file] [-J " +
			"[user@]host[:port]] [-L address]\n           [-l login_name] [-m mac_spec] [-O ctl_cmd] [-o " +
			"option] [-p port]\n           [-Q query_option] [-R address] [-S ctl_path] [-W host:port]\n  " +
			"         [-w local_tun[:remote_tun]] destination [command [argument ...]]\n"},
	{name: "proxycommand missing", method: "ssh", status: 255, kind: connect.ErrSetup,
		line: "/bin/bash: line 1: exec: nosuchnc: not found", hint: "ProxyCommand",
		words: "/bin/bash: line 1: exec: nosuchnc: not found\nkex_exchange_identification: Connection " +
			"closed by remote host\nConnection closed by UNKNOWN port 65535\n"},
	{name: "proxycommand exit", method: "ssh", status: 255, kind: connect.ErrDisconnected,
		line: "no way",
		hint: "ProxyCommand", passing: true,
		words: "no way\nkex_exchange_identification: Connection closed by remote host\nConnection " +
			"closed by UNKNOWN port 65535\n"},
	{name: "key 0644", method: "ssh", status: 255, kind: connect.ErrAuth,
		line: "Permissions 0644 for '/w/key644' are too open.", hint: "chmod 600",
		words: "Warning: Permanently added '[127.0.0.1]:33175' (ED25519) to the list of known hosts.\n" +
			"@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\n@         WARNING: UNPROTECTED " +
			"PRIVATE KEY FILE!          @\n@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\n" +
			"Permissions 0644 for '/w/key644' are too open.\nIt is required that your private key files " +
			"are NOT accessible by others.\nThis private key will be ignored.\nLoad key \"/w/key644\": " +
			"bad permissions\nrok@127.0.0.1: Permission denied (publickey,password).\n"},
	{name: "no key", method: "ssh", status: 255, kind: connect.ErrAuth,
		line: "Warning: Identity file /w/nokey not accessible", hint: "--identity",
		words: "Warning: Identity file /w/nokey not accessible: No such file or directory.\nWarning: " +
			"Permanently added '[127.0.0.1]:33175' (ED25519) to the list of known hosts.\nrok@127.0.0.1: " +
			"Permission denied (publickey,password).\n"},
	{name: "bad key", method: "ssh", status: 255, kind: connect.ErrAuth,
		line: `Load key "/w/badkey": error in libcrypto`, hint: "ssh-keygen -y",
		words: "Warning: Permanently added '[127.0.0.1]:33175' (ED25519) to the list of known hosts.\n" +
			"Load key \"/w/badkey\": error in libcrypto\nrok@127.0.0.1: Permission denied " +
			"(publickey,password).\n"},
	{name: "http server", method: "ssh", status: 255, kind: connect.ErrDisconnected,
		line: "Connection closed by 127.0.0.1 port", hint: "sshd's log", passing: true,
		words: "kex_exchange_identification: Connection closed by remote host\nConnection closed by " +
			"127.0.0.1 port 42979\n"},
	{name: "silent server", method: "ssh", status: 255, kind: connect.ErrTimeout,
		line: "Connection timed out during banner exchange", hint: "firewall", passing: true,
		words: "Connection timed out during banner exchange\nConnection to 127.0.0.1 port 54165 timed " +
			"out\n"},
	{name: "sudo unknown user", method: "sudo", status: 1, kind: connect.ErrUnknownUser,
		line: "sudo: unknown user nobodyatall", hint: "user's name",
		words: "sudo: unknown user nobodyatall\nsudo: error initializing audit plugin sudoers_audit\n"},
	{name: "sudo not in sudoers", method: "sudo", status: 1, kind: connect.ErrPasswordRequired,
		line: "sudo: a password is required", hint: "password",
		words: "sudo: a password is required\n"},
	{name: "sudo expired caller", method: "sudo", status: 1, kind: connect.ErrAuth,
		line: "sudo: account validation failure, is your account locked?", hint: "chage",
		words: "sudo: account validation failure, is your account locked?\nsudo: a password is " +
			"required\n"},
	{name: "sudo -i missing shell", method: "sudo", status: 1, kind: connect.ErrNoShell,
		line: "sudo: /bin/nosh: command not found", hint: "login shell",
		words: "sudo: /bin/nosh: command not found\n"},
	{name: "sudo -i nologin", method: "sudo", status: 1, kind: connect.ErrNotPermitted,
		line: "This account is currently not available.", hint: "nologin",
		words: "This account is currently not available.\n"},
	{name: "sudo no python", method: "sudo", status: 127, kind: connect.ErrNoPython,
		line: "exec: nosuchpython: not found", hint: "--python",
		words: "CODE: 1: exec: nosuchpython: not found\n"},
	{name: "su unknown", method: "su", status: 1, kind: connect.ErrUnknownUser,
		line: "su: user nobodyatall does not exist", hint: "user's name",
		words: "su: user nobodyatall does not exist or the user entry does not contain all the " +
			"required fields\n"},
	{name: "su noshell", method: "su", status: 127, kind: connect.ErrNoShell,
		line: "su: failed to execute /bin/nosh: No such file or directory", hint: "login shell",
		words: "su: failed to execute /bin/nosh: No such file or directory\n"},
	{name: "su nologin", method: "su", status: 1, kind: connect.ErrNotPermitted,
		line: "This account is currently not available.", hint: "nologin",
		words: "This account is currently not available.\n"},
	{name: "su false", method: "su", status: 1, kind: connect.ErrDied, line: "", hint: "su -c",
		words: ""},
	{name: "su expired", method: "su", status: 1, kind: connect.ErrAuth,
		line: "Your account has expired; please contact your system administrator.", hint: "chage",
		words: "Your account has expired; please contact your system administrator.\nsu: " +
			"Authentication failure\n"},
	{name: "su pwexp", method: "su", status: 1, kind: connect.ErrAuth,
		line: "You are required to change your password immediately", hint: "has expired",
		words: "Changing password for rpwexp.\nYou are required to change your password immediately " +
			"(administrator enforced).\nCurrent password: su: Authentication token manipulation error\n"},
	{name: "su as user no tty", method: "su", status: 1, kind: connect.ErrAuth,
		line: "Password: su: Authentication failure", hint: "user who is entered",
		words: "Password: su: Authentication failure\n"},
	{name: "su limit", method: "su", status: 1, kind: connect.ErrNotPermitted,
		line: "There were too many logins for 'rlimit'.", hint: "maxlogins",
		words: "There were too many logins for 'rlimit'.\nsu: cannot open session: Permission denied\n"},
	{name: "su gitshell", method: "su", status: 128, kind: connect.ErrNotPermitted,
		line: "fatal: unrecognized command", hint: "git-shell",
		words: "fatal: unrecognized command 'sh -c 'exec nosuchpython''\n"},
	{name: "su nopython", method: "su", status: 126, kind: connect.ErrNoPython,
		line: "exec: nosuchpython: Permission denied", hint: "--python",
		words: "sh: 1: exec: nosuchpython: Permission denied\n"},
	{name: "exec of echo", method: "exec", status: 0, kind: connect.ErrDied,
		line: "hi sh -c", hint: "prints what is put behind it",
		words: "hi sh -c COMMAND\n"},
	{name: "exec of what refuses", method: "exec", status: 1, kind: connect.ErrNotPermitted,
		line: "refused: sh -c", words: "refused: sh -c COMMAND\n"},
	{name: "doas unknown", method: "doas", status: 1, kind: connect.ErrUnknownUser,
		line:  "doas: unknown user",
		hint:  "user's name",
		words: "doas: unknown user\n"},
	{name: "doas not permitted", method: "doas", status: 1, kind: connect.ErrSetup,
		line: "doas: doas is not enabled, /etc/doas.conf", hint: "doas.conf",
		words: "doas: doas is not enabled, /etc/doas.conf: No such file or directory\n"},
	{name: "podman none", method: "podman", status: 125, kind: connect.ErrNotFound,
		line: `Error: no container with name or ID "nosuch" found`, hint: "podman ps",
		words: "Error: no container with name or ID \"nosuch\" found: no such container\n"},
	{name: "podman user", method: "podman", status: 1, kind: connect.ErrAuth,
		line: "permission denied",
		hint: "whose container",
		words: "time=\"2026-11-29T18:47:16Z\" level=error msg=\"stat " +
			"/home/app/.config/containers/storage.conf: permission denied\"\n"},
	{name: "docker none", method: "docker", status: 1, kind: connect.ErrRefused,
		line: "Cannot connect to the Docker daemon at unix:", hint: "docker info",
		words: "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker " +
			"daemon running?\n"},
	{name: "kubectl", method: "kubectl", status: 1, kind: connect.ErrRefused,
		line: "The connection to the server localhost:8080 was refused", hint: "kubectl cluster-info",
		passing: true,
		words: "65] \"Unhandled Error\" err=\"couldn't get current server API group list: Get " +
			"\\\"http://localhost:8080/api?timeout=32s\\\": dial tcp 127.0.0.1:8080: connect: connection " +
			"refused\"\nE1129 18:47:17.656785   23557 memcache.go:265] \"Unhandled Error\" err=\"couldn't " +
			"get current server API group list: Get \\\"http://localhost:8080/api?timeout=32s\\\": dial " +
			"tcp 127.0.0.1:8080: connect: connection refused\"\nE1129 18:47:17.662517   23557 " +
			"memcache.go:265] \"Unhandled Error\" err=\"couldn't get current server API group list: Get " +
			"\\\"http://localhost:8080/api?timeout=32s\\\": dial tcp 127.0.0.1:8080: connect: connection " +
			"refused\"\nThe connection to the server localhost:8080 was refused - did you specify the " +
			"right host or port?\n"},
	{name: "kubectl context", method: "kubectl", status: 1, kind: connect.ErrNotFound,
		line: "Error in configuration: context was not found", hint: "kubectl get pods",
		words: "Error in configuration: context was not found for specified context: nope\n"},
	{name: "chroot none", method: "chroot", status: 125, kind: connect.ErrNotFound,
		line: "chroot: cannot change root directory to '/nonexistent'", hint: "machine that enters it",
		words: "chroot: cannot change root directory to '/nonexistent': No such file or directory\n"},
	{name: "chroot nosh", method: "chroot", status: 127, kind: connect.ErrNoShell,
		line: "chroot: failed to run command", hint: "no sh in the tree",
		words: "chroot: failed to run command ‘sh’: No such file or directory\n"},
	{name: "chroot user", method: "chroot", status: 125, kind: connect.ErrNotPermitted,
		line:  "chroot: cannot change root directory to '/': Operation not permitted",
		hint:  "sudo before it",
		words: "chroot: cannot change root directory to '/': Operation not permitted\n"},
	{name: "chroot unknown user", method: "chroot", status: 125, kind: connect.ErrUnknownUser,
		line: "chroot: invalid user", hint: "user's name",
		words: "chroot: invalid user\n"},
	{name: "nsenter none", method: "setns", status: 1, kind: connect.ErrNotFound,
		line: "nsenter: stat of /proc/999999/ns/user failed", hint: "that it is there",
		words: "nsenter: stat of /proc/999999/ns/user failed: No such file or directory\n"},
	{name: "nsenter user", method: "setns", status: 1, kind: connect.ErrNotPermitted,
		line: "nsenter: stat of /proc/1/ns/user failed: Permission denied", hint: "sudo before it",
		words: "nsenter: stat of /proc/1/ns/user failed: Permission denied\n"},
	{name: "lxc-attach", method: "lxc", status: 1, kind: connect.ErrNotFound,
		line: "Failed to get attach context", hint: "name",
		words: "lxc-attach: nosuch: ../src/lxc/attach.c: get_attach_context: 406 Connection refused - " +
			"Failed to get init pid\nlxc-attach: nosuch: ../src/lxc/attach.c: lxc_attach: 1470 Connection " +
			"refused - Failed to get attach context\n"},
	{name: "nspawn", method: "nspawn", status: 1, kind: connect.ErrNotFound,
		line: "Failed to resolve path /nonexistent", hint: "that it is there",
		words: "Failed to resolve path /nonexistent: No such file or directory\n"},
	{name: "machinectl", method: "machinectl", status: 1, kind: connect.ErrSetup,
		line: "System has not been booted with systemd", hint: "systemd",
		words: "System has not been booted with systemd as init system (PID 1). Can't operate.\nFailed " +
			"to connect to bus: Host is down\n"},
	{name: "buildah", method: "buildah", status: 125, kind: connect.ErrNotFound,
		line:  "container not known",
		hint:  "podman ps",
		words: "Error: reading build container \"nosuch\": container not known\n"},
	{name: "python missing", method: "local", status: 127, kind: connect.ErrNoPython,
		line: "exec: python9: not found", hint: "--python",
		words: "CODE: 1: exec: python9: not found\n"},
	{name: "python perl", method: "local", status: 2, kind: connect.ErrNoPython,
		line: `Can't open perl script "…": No such file or directory`, hint: "isn't Python",
		words: "Can't open perl script \"CODE\": No such file or directory\n"},
	{name: "python bash", method: "ssh", status: 2, kind: connect.ErrNoPython,
		line: "bash: -c: line 1: syntax error near", hint: "isn't Python",
		words: "bash: -c: line 1: syntax error near unexpected token `0,4'\nbash: -c: line 1: `CODE'\n"},
	{name: "python dash", method: "local", status: 2, kind: connect.ErrNoPython,
		line:  "dash: 1: Syntax error",
		hint:  "isn't Python",
		words: "dash: 1: Syntax error: word unexpected (expecting \")\")\n"},
	{name: "python zsh", method: "docker", status: 1, kind: connect.ErrNoPython,
		line: "zsh:1: parse error near", hint: "isn't Python",
		words: "zsh:1: parse error near `)'\n"},
	{name: "python node", method: "local", status: 1, kind: connect.ErrNoPython,
		line: "Error: Cannot find module '/w/…'", hint: "isn't Python",
		words: "node:internal/modules/cjs/loader:1210\n  throw err;\n  ^\n\nError: Cannot find module " +
			"'/w/CODE'\n    at Module._resolveFilename (node:internal/modules/cjs/loader:1207:15)\n    at " +
			"node:internal/main/check_syntax:33:20 {\n  code: 'MODULE_NOT_FOUND',\n  requireStack: []\n}\n" +
			"\nNode.js v20.20.2\n"},
	{name: "python cat", method: "local", status: 1, kind: connect.ErrNoPython,
		line: "cat: invalid option -- 'c'", hint: "isn't Python",
		words: "cat: invalid option -- 'c'\nTry 'cat --help' for more information.\n"},
	{name: "python option", method: "local", status: 2, kind: connect.ErrDied,
		line: "Unknown option: -Z", hint: "by hand",
		words: "Unknown option: -Z\nusage: /usr/bin/python3 [option] ... [-c cmd | -m mod | file | -] " +
			"[arg] ...\nTry `python -h' for more information.\n"},
	{name: "sudo option", method: "sudo", status: 1, kind: connect.ErrDied,
		line: "sudo: invalid option -- 'Q'", hint: "by hand",
		words: "sudo: invalid option -- 'Q'\nusage: sudo -h | -K | -k | -V\nusage: sudo -v [-ABkNnS] " +
			"[-g group]\n            [command [arg ...]]\nusage: sudo [-ABbEHkNnPS] [-g\n" +
			"            group] [-h host]\n            [VAR=value] [-i | -s] [command [arg ...]]\n"},
	{name: "docker option", method: "docker", status: 125, kind: connect.ErrDied,
		line: "unknown flag: --nosuch", hint: "by hand",
		words: "unknown flag: --nosuch\n\nUsage:  docker [OPTIONS] … [ARG...]\n\n" +
			"Run 'docker --help' for more information\n"},
	{name: "podman option", method: "podman", status: 125, kind: connect.ErrDied,
		line: "Error: unknown flag: --nosuch", hint: "by hand",
		words: "Error: unknown flag: --nosuch\nSee 'podman --help'\n"},
	{name: "lxc option", method: "lxc", status: 1, kind: connect.ErrDied,
		line: "lxc-attach: unrecognized option '--nosuch'", hint: "by hand",
		words: "lxc-attach: unrecognized option '--nosuch'\nUsage: lxc-attach --name=NAME [-- …]\n" +
			"\nOptions :\n  -n, --name=NAME   NAME of the container\n\nMandatory or optional arguments to " +
			"long options are also mandatory or optional\nfor any corresponding short options.\n\n" +
			"See the lxc-attach man page for further information.\n"},
	{name: "a wrapper's usage", method: "local", status: 2, kind: connect.ErrDied,
		line: "wrap: error: unrecognized arguments: -Z", hint: "by hand",
		words: "usage: wrap [-h]\n            [file]\nwrap: error: unrecognized arguments: -Z\n"},
	{name: "python dir", method: "local", status: 126, kind: connect.ErrNoPython,
		line: "exec: /tmp: Permission denied", hint: "--python",
		words: "CODE: 1: exec: /tmp: Permission denied\n"},
	{name: "python broken link", method: "local", status: 127, kind: connect.ErrNoPython,
		line: "exec: /w/bin/broken: not found", hint: "--python",
		words: "CODE: 1: exec: /w/bin/broken: not found\n"},
	{name: "python no x", method: "ssh", status: 126, kind: connect.ErrNoPython,
		line: "exec: /w/bin/noexec: Permission denied", hint: "--python",
		words: "CODE: 1: exec: /w/bin/noexec: Permission denied\n"},
	{name: "python elf", method: "local", status: 126, kind: connect.ErrNoPython,
		line: "exec: /w/bin/elf: Exec format error", hint: "kind of processor",
		words: "CODE: 1: exec: /w/bin/elf: Exec format error\n"},
	{name: "python fish", method: "local", status: 0, kind: connect.ErrNoPython,
		line: "fish: Unsupported use of '='.", hint: "isn't Python",
		words: "fish: Unsupported use of '='. In fish, please use 'set p sys.path'.\nCODE\n           " +
			"^~~~~~~~~^\n"},
	{name: "python tcsh", method: "local", status: 1, kind: connect.ErrNoPython,
		line:  "Badly placed ()'s.",
		hint:  "isn't Python",
		words: "Badly placed ()'s.\n"},
	{name: "python awk", method: "local", status: 2, kind: connect.ErrNoPython,
		line:  "awk: not an option: -c",
		hint:  "isn't Python",
		words: "awk: not an option: -c\n"},
	{name: "python true", method: "local", status: 0, kind: connect.ErrDied, line: "", hint: "by hand",
		words: ""},
	{name: "python home", method: "ssh", status: 1, kind: connect.ErrDied,
		line: "Fatal Python error: init_fs_encoding", hint: "PYTHONHOME",
		words: "Python path configuration:\n  PYTHONHOME = '/nonexistent'\n  PYTHONPATH = (not set)\n  " +
			"program name = '/usr/bin/python3'\n  isolated = 0\n  environment = 1\n  user site = 1\n  " +
			"safe_path = 0\n  import site = 1\n  is in build tree = 0\n  stdlib dir = " +
			"'/nonexistent/lib/python3.11'\n  sys._base_executable = '/usr/bin/python3'\n  " +
			"sys.base_prefix = '/nonexistent'\n  sys.base_exec_prefix = '/nonexistent'\n  sys.platlibdir " +
			"= 'lib'\n  sys.executable = '/usr/bin/python3'\n  sys.prefix = '/nonexistent'\n  " +
			"sys.exec_prefix = '/nonexistent'\n  sys.path = [\n    '/nonexistent/lib/python311.zip',\n    " +
			"'/nonexistent/lib/python3.11',\n    '/nonexistent/lib/python3.11/lib-dynload',\n  ]\nFatal " +
			"Python error: init_fs_encoding: failed to get the Python codec of the filesystem encoding\n" +
			"Python runtime state: core initialized\nModuleNotFoundError: No module named 'encodings'\n\n" +
			"Current thread 0x00007f01538e7040 (most recent call first):\n  <no Python frame>\n"},
	{name: "pyenv missing", method: "ssh", status: 127, kind: connect.ErrNoPython,
		line: "pyenv: python3.13: command not found", hint: "pyenv global",
		words: "pyenv: python3.13: command not found\n\nThe `python3.13' command exists in these " +
			"Python versions:\n  3.13.0\n\nNote: See 'pyenv help global' for tips on allowing multiple\n  " +
			"    Python versions to be found at the same time.\n"},
	{name: "pyenv version", method: "local", status: 1, kind: connect.ErrNoPython,
		line: "pyenv: version `9.9' is not installed", hint: "pyenv global",
		words: "pyenv: version `9.9' is not installed (set by PYENV_VERSION environment variable)\n"},
	{name: "noprogram in bash", method: "ssh", status: 127, kind: connect.ErrNoPython, line: "",
		hint:  "install Python",
		words: "bash: line 1: MITO-NOPY: command not found\n"},
	{name: "noprogram in zsh", method: "docker", status: 127, kind: connect.ErrNoPython, line: "",
		hint:  "install Python",
		words: "zsh:1: command not found: MITO-NOPY\n"},
	{name: "noprogram in ksh", method: "sudo", status: 127, kind: connect.ErrNoPython, line: "",
		hint:  "install Python",
		words: "ksh: MITO-NOPY: not found\n"},
	{name: "noprogram in busybox sh", method: "local", status: 127, kind: connect.ErrNoPython,
		line:  "",
		hint:  "install Python",
		words: "sh: MITO-NOPY: not found\n"},
}

const (
	recordedCode = "import sys;p=sys.path;p[:not p[0]]=[];import " +
		"os,fcntl;fcntl.fcntl(0,4);d=os.environ.pop(\"LC_MITO\",\"\");" +
		"os.write(1,(\"%cMITO-EC%d%c\"%(10,d>\"\",10)).encode());" +
		"f=os.fdopen(0,\"rb\",0);exec(d or f.readline())"
	recordedCommand = "'sh' '-c' 'export PYTHONSAFEPATH=1;for p in python3 python python2.7 python2 " +
		"/usr/libexec/platform-*;do e=`type $p 2>&1`&&exec $p -c \"$0\";done;MITO-'\\\\'NOPY' 'import " +
		"sys;p=sys.path;p[:not p[0]]=[];import " +
		"os,fcntl;fcntl.fcntl(0,4);d=os.environ.pop(\"LC_MITO\",\"\");" +
		"os.write(1,(\"%cMITO-EC%d%c\"%(10,d>\"\",10)).encode());" +
		"f=os.fdopen(0,\"rb\",0);exec(d or f.readline())'"
)

// Each failure has the kind, the telling line and the hint, and shows no boot code.
func TestRecordedFailures(t *testing.T) {
	for _, r := range failures {
		text := strings.NewReplacer("COMMAND", recordedCommand, "CODE", recordedCode).Replace(r.words)
		e := Classify(r.method, Failure{What: WhatExit, Status: r.status, Text: text,
			LoggedIn: LoggedIn(text)})
		if !errors.Is(e, r.kind) {
			t.Errorf("%s: got kind %v (%v), want %v", r.name, e.Kind, e, r.kind)
			continue
		}
		line := e.Quote
		if r.line == "" && line != "" || !strings.Contains(line, r.line) {
			t.Errorf("%s: got line %q, want %q in it", r.name, line, r.line)
		}
		if hint := e.Hint; !strings.Contains(hint, r.hint) ||
			r.method != "ssh" && strings.Contains(hint, "sshd") {
			t.Errorf("%s: got hint %q, want %q in it", r.name, hint, r.hint)
		}
		if e.Phase == "" || e.LoggedIn != r.loggedIn || e.Passing != r.passing {
			t.Errorf("%s: got phase %q, logged in %v, passing %v, want %v, %v", r.name, e.Phase, e.LoggedIn,
				e.Passing, r.loggedIn, r.passing)
		}
		if all := e.Error() + e.Text; strings.Contains(all, "import sys;") ||
			strings.Contains(all, "PYTHONSAFEPATH") || strings.Contains(all, "Authenticated to") {
			t.Errorf("%s: got %s, want no boot code and no news of ssh's in it", r.name, all)
		}
	}
}
