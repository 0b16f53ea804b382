# Writes a line with the size, digest, mode and time of a file, and then its bytes. For sh and the
# programs of POSIX, busybox's too, and trees without devices. $1: the file.
say() {
	echo "mitogen-errno $1 $2" >&2
	exit 73
}
f=$1
case $f in
/*) ;;
*) f=./$f ;;
esac
[ -e "$f" ] || say 2 'No such file or directory'
[ -d "$f" ] && say 21 'Is a directory'
[ -f "$f" ] || say 22 'not a file'
[ -r "$f" ] || say 13 'Permission denied'
size=$(wc -c <"$f") || say 5 'it cannot be read'
sum=-
if [ -n "$(command -v sha256sum)" ]; then
	sum=$(sha256sum <"$f")
elif [ -n "$(command -v cksum)" ]; then
	sum=c$(cksum <"$f")
fi
mode=$(ls -ldL "$f")
when=$(stat -Lc %Y "$f" 2>&1) || when=-
echo $size "${sum%% *}" "${mode%% *}" "$when"
cat <"$f"
