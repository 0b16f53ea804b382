import errno
import os
import stat
import sys
HELD=sys.platform[:5]=='linux'and os.path.isdir('/proc/self/fd')
SLASH='/'.encode()
QUIET=os.O_NOCTTY|os.O_NONBLOCK|getattr(os,'O_NOFOLLOW',0)|getattr(os,'O_CLOEXEC',0)
PLACE_FLAGS=os.O_RDONLY|getattr(os,'O_NOFOLLOW',0)|getattr(os,'O_CLOEXEC',0)
if HELD:
 PLACE_FLAGS=PLACE_FLAGS|getattr(os,'O_PATH',2097152)
DIRECTORY=getattr(os,'O_DIRECTORY',0)
MAX_LINKS=40
MAX_DEPTH=200
def wrong(number,path,why=None):
 return OSError(number,why or os.strerror(number),path)
def trusted(st):
 return st.st_uid in(0,os.geteuid())
def held(fd):
 return('/proc/self/fd/%d'%fd).encode()
class Held:
 fd=None
 def __init__(self,path,make=0,last=1):
  self.path=path
  try:
   if HELD:
    self.walk(make,last)
   else:
    self.find(make)
  except:
   self.close()
   raise
 def close(self):
  if self.fd is not None:
   os.close(self.fd)
   self.fd=None
 def at(self,name=None):
  if self.fd is None:
   return os.path.join(self.dir,name or self.name)
  return held(self.fd)+SLASH+(name or self.name)
 def find(self,make):
  self.dir,self.name=os.path.split(self.path.rstrip(SLASH))
  if make and self.dir and not os.path.isdir(self.dir):
   os.makedirs(self.dir)
 def walk(self,make,last):
  links=0
  names=self.start(self.path)
  while names:
   self.name=names.pop(0)
   if names or last:
    to=self.step(names,make)
    if to is not None:
     links+=1
     if links>MAX_LINKS:
      raise wrong(errno.ELOOP,self.path)
     names=self.start(to)+names
 def start(self,path):
  self.name='.'.encode()
  if path[:1]==SLASH:
   self.enter(SLASH)
  elif self.fd is None:
   self.enter(self.name)
  return[n for n in path.split(SLASH)if n not in(self.name,''.encode())]
 def enter(self,path):
  fd=os.open(path,PLACE_FLAGS|DIRECTORY)
  self.close()
  self.fd=fd
 def step(self,more,make):
  if more:
   number=self.number(self.enter)
   if number==errno.ENOENT and make:
    number=self.number(os.mkdir)
    if number in(0,errno.EEXIST):
     number=self.number(self.enter)
   if not number:
    return
   if number not in(errno.ENOTDIR,errno.ELOOP):
    raise wrong(number,self.path)
  try:
   fd=self.open(PLACE_FLAGS)
  except OSError:
   if sys.exc_info()[1].errno==errno.ENOENT and not more:
    return
   raise
  try:
   return self.link(fd,more)
  finally:
   os.close(fd)
 def open(self,flags,mode=0):
  try:
   return os.open(self.at(),flags,mode)
  except OSError:
   raise wrong(sys.exc_info()[1].errno,self.path)
 def number(self,do):
  try:
   do(self.at())
   return 0
  except OSError:
   return sys.exc_info()[1].errno
 def link(self,fd,more):
  st=os.fstat(fd)
  if not stat.S_ISLNK(st.st_mode):
   if more:
    raise wrong(errno.ENOTDIR,self.path)
   return
  if not trusted(st):
   raise wrong(errno.EPERM,self.path,'a symbolic link of user %d is on the way'%st.st_uid)
  try:
   return os.readlink(''.encode(),dir_fd=fd)
  except(TypeError,NotImplementedError):
   to=os.readlink(self.at())
   now=os.lstat(self.at())
   if(now.st_ino,now.st_dev,now.st_ctime)!=(st.st_ino,st.st_dev,st.st_ctime):
    raise wrong(errno.EAGAIN,self.path)
   return to
 def check(self,st):
  if stat.S_ISDIR(st.st_mode)or stat.S_ISCHR(st.st_mode)and trusted(st):
   return
  if not stat.S_ISREG(st.st_mode):
   raise wrong(errno.EINVAL,self.path,'not a file')
  if st.st_nlink>1 and not self.closed():
   raise wrong(errno.EPERM,self.path,'the file has a second name')
 def closed(self):
  if self.fd is None:
   st=os.stat(self.dir or os.curdir)
  else:
   st=os.fstat(self.fd)
  return trusted(st)and not st.st_mode&18
def writable(path,mode):
 place=Held(path)
 try:
  fd=place.open(os.O_WRONLY|os.O_CREAT|QUIET,mode)
  try:
   st=os.fstat(fd)
   place.check(st)
   if stat.S_ISREG(st.st_mode):
    os.ftruncate(fd,0)
  except:
   os.close(fd)
   raise
  return fd
 finally:
  place.close()
def readable(path):
 fd=os.open(path,os.O_RDONLY|QUIET&~getattr(os,'O_NOFOLLOW',0))
 if stat.S_ISFIFO(os.fstat(fd).st_mode):
  os.close(fd)
  raise wrong(errno.EINVAL,path,'not a file')
 return fd
def set_mode(fd,mode):
 if HELD:
  os.chmod(held(fd),mode)
 else:
  os.fchmod(fd,mode)
def add_mode(bits,path):
 place=Held(path)
 try:
  fd=place.open(PLACE_FLAGS)
  try:
   st=os.fstat(fd)
   place.check(st)
   set_mode(fd,st.st_mode&4095|bits)
  finally:
   os.close(fd)
 finally:
  place.close()
def make_dir(path):
 place=Held(path,1,0)
 try:
  number=place.number(os.mkdir)
  if number:
   raise wrong(number,path)
 finally:
  place.close()
def remove(path):
 try:
  place=Held(path,0,0)
 except OSError:
  return
 try:
  clear(place.at(),MAX_DEPTH)
 finally:
  place.close()
def clear(path,depth):
 try:
  fd=os.open(path,os.O_RDONLY|DIRECTORY|QUIET)
 except OSError:
  return attempt(os.unlink,path)
 try:
  if HELD:
   below=held(fd)
  else:
   below=path
  if depth:
   for name in attempt(os.listdir,below)or():
    clear(os.path.join(below,name),depth-1)
 finally:
  os.close(fd)
 attempt(os.rmdir,path)
def attempt(do,path):
 try:
  return do(path)
 except OSError:
  pass
def replace(path,mode,fill):
 place=Held(path,0,0)
 try:
  random=''.join(['%02x'%ord(c)for c in os.urandom(8).decode('latin-1')])
  new=('.mitogen-'+random).encode()
  try:
   fd=os.open(place.at(new),os.O_CREAT|os.O_EXCL|os.O_WRONLY|QUIET,384)
   try:
    fill(fd)
    set_mode(fd,mode or old_mode(place))
    st,now=os.fstat(fd),os.lstat(place.at(new))
    if(st.st_ino,st.st_dev)!=(now.st_ino,now.st_dev):
     raise wrong(errno.EPERM,path,'the new file was exchanged for another')
   finally:
    os.close(fd)
   os.rename(place.at(new),place.at())
  except:
   attempt(os.unlink,place.at(new))
   raise
 finally:
  place.close()
def old_mode(place):
 mask=os.umask(63)
 os.umask(mask)
 try:
  st=os.lstat(place.at())
 except OSError:
  return 438&~mask
 if not stat.S_ISREG(st.st_mode):
  return 438&~mask
 if st.st_uid==os.geteuid():
  return st.st_mode&4095
 return st.st_mode&511&~mask
