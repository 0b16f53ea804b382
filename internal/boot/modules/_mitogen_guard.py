def restore_os():
 for name in dir(posix):
  if getattr(getattr(os,name,0),'__name__',0)=='load':
   setattr(os,name,getattr(posix,name))
def open_files():
 try:
  return[int(fd)for fd in os.listdir('/proc/self/fd')]
 except OSError:
  limit=os.sysconf('SC_OPEN_MAX')
  if not 0<limit<65536:
   limit=65536
  return getattr(BUILTINS,'xrange',range)(limit)
def close_all_but(kept):
 for fd in open_files():
  if fd not in kept:
   try:
    os.close(fd)
   except OSError:
    pass
GUARDS=globals().setdefault('GUARDS',[])
GUARDING=globals().setdefault('GUARDING',thread.allocate_lock())
def guard(ev=None):
 if ev:
  fd=GUARDS[-1]
  POLL.unregister(fd)
  del FDS[fd]
  os.close(fd)
 if len(GUARDS)>99:
  return
 r,w=posix.pipe()
 try:
  pid=posix.fork()
  if not pid:
   guard_life(w)
  GUARDS.append(r)
  private(r)
  FDS[r]=guard
  POLL.register(r,POLLIN)
  os.waitpid(pid,0)
 except OSError:
  pass
 os.close(w)
def guard_life(w):
 try:
  os.setsid()
  if posix.fork():
   return
  close_all_but((w,WAKE[1]))
  fcntl.lockf(WAKE[1],2)
  try:
   os.kill(-GROUP,9)
  finally:
   guard_sweep({str(os.getpid()):1})
 finally:
  os._exit(0)
def guard_sweep(seen):
 more=1
 while more:
  more=0
  for pid in os.listdir('/proc'):
   try:
    if pid not in seen and MARK in limits_of(pid):
     os.kill(int(pid),9)
     more=seen[pid]=1
   except Exception:
    pass
def limits_of(pid):
 f=open('/proc/%s/limits'%pid)
 try:
  return f.read()
 finally:
  f.close()
def guard_begin():
 if os.getpid()==PID and sys.platform[:5]=='linux':
  resource=resource_module()
  if sys.version_info<(3,4):
   imp.acquire_lock()
  GUARDING.acquire()
  try:
   if'MARK'not in globals():
    try:
     guard_once(resource)
    except:
     globals().pop('MARK',None)
     raise
  finally:
   GUARDING.release()
   if sys.version_info<(3,4):
    imp.release_lock()
 restore_os()
def resource_module():
 try:
  return __import__('resource')
 except Exception:
  pass
def guard_once(resource):
 global MARK
 MARK=str((4000000+PID)*10**12+int(time.time()*1e6)%10**12)
 try:
  resource.setrlimit(15,(int(MARK),resource.getrlimit(15)[1]))
 except Exception:
  pass
 fcntl.lockf(WAKE[1],2)
 guard()
atomic(guard_begin)
