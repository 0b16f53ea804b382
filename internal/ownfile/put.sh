# Makes a file of standard input. For sh and the programs of POSIX, busybox's too, and trees without
# devices.
# DEST; the file's name if DEST is a directory; 1 if it has to be one; size; SHA-256 and POSIX's
# cksum; mode; time for touch, or - if an old file's mode is to stay; a name that can't be guessed.
say() {
	echo "mitogen-errno $1 $2" >&2
	exit 73
}
d=$1 n=$2 size=$4 sum=$5 crc=$6 mode=$7 when=$8 t=.mitogen-$9
case $d in
/*) ;;
*) d=./$d ;;
esac
if [ -d "$d" ]; then
	d=${d%/}/$n
elif [ "$3" = 1 ]; then
	[ -e "${d%/}" ] && say 20 'Not a directory'
	say 2 'No such file or directory'
fi
[ -d "$d" ] && say 21 'Is a directory'
[ -e "$d" ] && [ ! -f "$d" ] && [ ! -h "$d" ] && say 17 'a device, pipe or socket is there'
up=${d%/*} n=${d##*/}
up=${up:-/}
[ -e "$up" ] || say 2 'No such file or directory'
[ -d "$up" ] || say 20 'Not a directory'
e=$(cd -P "$up" 2>&1) && cd -P "$up" && [ -w . ] || say 13 'Permission denied'
up=$(pwd -P)
mask=$(umask)
umask 077
# In a directory of its own no other account can exchange the file for another before it is whole.
e=$(mkdir "$t" 2>&1) || say 0 "$e"
cd -P "$t" && [ "$(pwd -P)" = "${up%/}/$t" ] && [ -O . ] ||
	say 11 'a directory was exchanged for another'
trap 'rm -f f; cd ..; rmdir "$t"' EXIT
trap 'exit 73' HUP INT PIPE TERM
e=$({ cat >f; } 2>&1) || say 0 "$e"
got=$(wc -c <f)
[ "$got" -eq "$size" ] || say 5 'other bytes arrived than were sent'
if [ -n "$(command -v sha256sum)" ]; then
	got=$(sha256sum <f) want=$sum
elif [ -n "$(command -v cksum)" ]; then
	got=$(cksum <f) want=$crc
else
	got= want=
fi
[ "${got%% *}" = "$want" ] || say 5 'other bytes arrived than were sent'
if [ "$when" != - ]; then
	e=$(TZ=UTC0 touch -t "$when" f 2>&1) || say 0 "$e"
elif [ -f "../$n" ] && [ ! -h "../$n" ] && [ -O "../$n" ]; then
	old=$(ls -ld "../$n")
	bits() { printf %s "$old" | cut -c "$1" | tr st xx | tr -d ST-; }
	mode="u=$(bits 2-4),g=$(bits 5-7),o=$(bits 8-10)"
else
	mode=$(printf %o $((0$mode & ~0$mask)))
fi
e=$(chmod "$mode" f 2>&1) || say 0 "$e"
[ -d "../$n" ] && say 21 'Is a directory'
# -T takes no directory for one to move into, which another account may make now. Where there is no
# -T, the file is looked for afterwards.
inode() {
	ls -di "$1" 2>/dev/null | sed 's/^ *\([0-9]*\).*/\1/;q'
}
was=$(inode f)
if ! mv -fT f "../$n" 2>/dev/null; then
	[ -d "../$n" ] && say 21 'Is a directory'
	e=$(mv -f f "../$n" 2>&1) || say 0 "$e"
	[ "$(inode "../$n")" = "$was" ] || say 21 'Is a directory'
fi
