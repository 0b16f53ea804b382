# Takes a program in from standard input, and becomes it: docs/protocol/golang.md, "Without Python".
# For eval in any sh, in trees without devices. Its lines are joined, so each ends a command.
# TOKEN is a name that can't be guessed. Neither backslash nor colon at an end: read takes them off.
unset IFS;
umask 077;
v=`uname -s 2>&1`;
m=`uname -m 2>&1`;
z=cat;
for p in gzip gunzip zcat;do e=`type $p 2>&1`&&z=$p&&break;done;
h=none;
e=`echo abcd|dd bs=2 count=1 iflag=fullblock 2>&1`;
case $e in ab*)h=dd;esac;
e=`echo ab|head -c 1 2>&1`;
case $e in a)h=head;esac;
# The first place that takes a directory which no other account can enter. Its file is executed
# while it is empty: that does nothing, where executing is allowed. Then the file loses its name.
w=place;
o=`pwd`;
place(){
case $1 in /*);;*)return 1;esac;
e=`mkdir "$1/TOKEN" 2>&1`&&e=`cd -P "$1/TOKEN" 2>&1`&&cd -P "$1/TOKEN"||return 1;
e=`ls -ld . 2>&1`;
case $e in drwx------+*)[ 1 = 0 ];;drwx------*)[ -O . ];;*)[ 1 = 0 ];esac||{ cd /;return 1;};
:>p;
chmod 700 p;
if e=`./p 2>&1`;then exec 4<p;w=ready;else w=noexec;fi;
rm -f p;
cd ..;
rmdir TOKEN;
[ $w = ready ];
};
if [ ! -e /proc/self/fd/0 ];then w=proc;
else for d in /dev/shm "$XDG_RUNTIME_DIR" "$TMPDIR" /tmp /var/tmp "$HOME";
do place "$d"&&break;done;fi;
e=`cd "$o" 2>&1`&&cd "$o"||cd /;
echo;
echo "MITO-GO|$v|$m|$z|$h|$w";
# A number of bytes or, for dd, of blocks; the loader that the program needs.
read n l||exit 1;
[ -z "$l" ]||[ -e "$l" ]||{ echo "$l: not found" >&2;exit 1;};
case $h in dd)set -- dd bs=4096 iflag=fullblock count=$n;;*)set -- head -c $n;esac;
case $z in gzip)z='gzip -dc';;gunzip)z='gunzip -c';esac;
"$@"|$z >/proc/self/fd/4||exit 1;
export MITO_FD=4;
exec /proc/self/fd/4 mitogen:context
