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
import gc
JOBS=[]
FILES={}
ZIPS={}
CODE={}
WARM={}
STRANGE={}
LIB='/dev/null/ansible_mitogen_payload.zip'
WATCHED=('/etc/environment','~/.pam_environment','/etc/passwd','/etc/group','/etc/resolv.conf','/etc/localtime',sys.executable,os.__file__)
TEMPS={}
LENT=[]
BEFORE=[]
def changes():
 all=[]
 for path in WATCHED:
  try:
   st=os.stat(os.path.expanduser(path))
   all.append((st.st_ino,st.st_size,st.st_mtime))
  except OSError:
   all.append(None)
 return all
class Output:
 full=0
 gone=0
 eof=1
 w=None
 late=0
 tty=None
 def begin(self,key,outs):
  self.key=key
  self.outs=outs
  TUNNELS[key]=self
  FLOWS[key]=WINDOW
  for fd in outs:
   private(fd)
   FDS[fd]=self.reader(fd)
   POLL.register(fd,POLLIN)
 def reader(self,fd):
  def read(ev):
   self.take(fd)
   if not self.late or FLOWS.get(self.key,0)<WINDOW//2:
    UP.flush()
  return read
 def take(self,fd):
  if FLOWS[self.key]<=0:
   if not self.full:
    self.full=1
    for fd in self.outs:
     POLL.unregister(fd)
   return 0
  try:
   data=os.read(fd,65536)
  except OSError:
   if again(sys.exc_info()[1]):
    return 0
   data=EMPTY
  if not data:
   self.shut_out(fd)
   return 0
  FLOWS[self.key]-=len(data)+1
  UP.put(frame(self.key[0],self.key[1],self.outs[fd]+data,ITEM))
  return 1
 def shut_out(self,fd):
  if not self.full:
   POLL.unregister(fd)
  del FDS[fd]
  del self.outs[fd]
  if fd!=self.tty:
   os.close(fd)
 def resume(self):
  if self.full and FLOWS[self.key]>0:
   self.full=0
   for fd in self.outs:
    POLL.register(fd,POLLIN)
 def over(self,data):
  for fd in list(self.outs):
   self.shut_out(fd)
  if self.tty is not None:
   os.close(self.tty)
  del TUNNELS[self.key]
  spend(self.key)
  UP.put(frame(self.key[0],self.key[1],data))
  UP.flush()
 def end(self,patience=0):
  self.over(EMPTY)
class Download(Output):
 def shut_out(self,fd):
  Output.shut_out(self,fd)
  if not self.gone:
   self.gone=1
   self.over(EMPTY)
class Upload:
 eof=0
 def __init__(self,key,path,mode):
  self.key=key
  self.failed=None
  self.fd=writable(utf8(path),mode)
  private(self.fd,1)
  TUNNELS[key]=self
 def put(self,data):
  credit(self.key[0],self.key[1],len(data))
  try:
   while data and not self.failed:
    data=data[os.write(self.fd,data):]
  except OSError:
   self.failed=sys.exc_info()[1]
 def flush(self):
  if self.eof:
   self.end()
 def resume(self):
  pass
 def end(self,patience=0):
  if self.key in TUNNELS:
   del TUNNELS[self.key]
   os.close(self.fd)
   if self.failed:
    refuse(self.key,'OSError',self.failed)
   else:
    send(self.key[0],self.key[1])
def refuse(key,kind,e):
 send(key[0],key[1],dumps(('builtins',kind,text(e),'',None),PROTO),ERROR)
class Job(Output):
 status=None
 eof=0
 def __init__(self,key,tty,run):
  fds=[]
  if tty:
   master,slave=os.openpty()
   stdin,feed,ends,outs=slave,None,[slave,slave],{master:'1'.encode()}
   fds=[master,slave]
   self.tty=master
  else:
   stdin,feed=os.pipe()
   out,out_w=os.pipe()
   err,err_w=os.pipe()
   ends,outs=[out_w,err_w],{out:'1'.encode(),err:'2'.encode()}
   fds=[stdin,feed,out,out_w,err,err_w]
  for fd in fds:
   private(fd,1)
  try:
   self.pid=os.fork()
  except OSError:
   for fd in fds:
    os.close(fd)
   raise
  if not self.pid:
   child([stdin]+ends,tty,run)
  for fd in[stdin]+[fd for fd in ends if fd!=stdin]:
   os.close(fd)
  self.w=feed
  self.out=deque()
  if feed is not None:
   private(feed)
   FDS[feed]=self.flush
  self.waits=0
  self.begin(key,outs)
  JOBS.append(self)
 def put(self,data):
  self.out.append(data)
 def flush(self,ev=None):
  while self.out and self.w is not None:
   data=self.out.popleft()
   try:
    n=os.write(self.w,data)
   except OSError:
    if not again(sys.exc_info()[1]):
     self.eof=1
     self.shut()
     break
    n=0
   if n<len(data):
    self.out.appendleft(data[n:])
   if n:
    credit(self.key[0],self.key[1],n)
   else:
    if not self.waits:
     self.waits=1
     POLL.register(self.w,POLLOUT)
    return
  if self.waits:
   self.waits=0
   POLL.unregister(self.w)
  if self.eof and not self.out:
   self.shut()
 def shut(self):
  self.out.clear()
  if self.w is not None:
   if self.waits:
    self.waits=0
    POLL.unregister(self.w)
   del FDS[self.w]
   os.close(self.w)
   self.w=None
 def reap(self):
  try:
   pid,status=os.waitpid(self.pid,os.WNOHANG)
  except OSError:
   pid,status=self.pid,0
  if pid:
   JOBS.remove(self)
   self.status=os.WEXITSTATUS(status)
   if os.WIFSIGNALED(status):
    self.status=128+os.WTERMSIG(status)
   self.finish()
 def finish(self):
  for fd in list(self.outs):
   while fd in self.outs and self.take(fd):
    pass
  if self.full and not self.gone:
   return UP.flush()
  self.shut()
  self.over(str(self.status).encode())
 def resume(self):
  Output.resume(self)
  if self.status is not None and not self.full and self.key in TUNNELS:
   self.finish()
 def end(self,patience=.3):
  if not self.gone:
   self.gone=1
   self.kill(signal.SIGTERM)
   after(.3,self.kill)
 def kill(self,sig=9):
  if self in JOBS:
   try:
    os.kill(-self.pid,sig)
   except OSError:
    pass
   try:
    os.kill(self.pid,sig)
   except OSError:
    pass
def job_timers():
 for j in JOBS[:]:
  j.reap()
 return run_timers()
def tidying_die(die=die):
 for j in JOBS:
  j.kill(signal.SIGTERM)
 if TEMPS and not S.stop:
  by_login(LENT,remove_temps)
 die()
def remove_temps():
 for dir in TEMPS:
  if not os.path.exists(dir+'/async_wrapper.py'.encode()):
   remove(dir)
def see_the_end():
 global die
 if die is not tidying_die:
  die=tidying_die
  if ARMED:
   fcntl.fcntl(ERR,fcntl.F_SETFL,ARMED[0])
def settle_in():
 see_the_end()
 restore_os()
 dumpable(0)
 for hooks,ours in((sys.meta_path,IMPORTER),(sys.path_hooks,Place)):
  hooks[:]=[h for h in hooks if h is not ours]
 sys.path_importer_cache.clear()
 signal.signal(signal.SIGCHLD,lambda sig,stack:None)
 signal.set_wakeup_fd(WAKE[1])
 DUE[0]=job_timers
 BEFORE.append(changes())
def child(fds,tty,run):
 code=1
 try:
  try:
   os.setsid()
   dumpable(1)
   signal.set_wakeup_fd(-1)
   signal.signal(signal.SIGCHLD,signal.SIG_DFL)
   signal.signal(signal.SIGINT,signal.default_int_handler)
   for i in range(3):
    os.dup2(fds[i],i)
   if tty:
    import termios
    fcntl.ioctl(0,getattr(termios,'TIOCSCTTY',21518),0)
   if'faulthandler'in sys.modules:
    sys.modules['faulthandler'].disable()
   close_others()
   code=run()
  except:
   code=uncaught()
 finally:
  os._exit(code)
def uncaught():
 t,e,tb=sys.exc_info()
 if t is SystemExit:
  code=e.code
  if code is None:
   return 0
  if isinstance(code,int):
   return code&255
  sys.stderr.write('%s\n'%(code,))
 else:
  while tb and tb.tb_next and tb.tb_frame.f_globals is globals():
   tb=tb.tb_next
  if PY3:
   setattr(e,'__traceback__',tb)
  MEMBERS.files={}
  sys.excepthook(t,e,tb)
  sys.stderr.flush()
 return 1
def execute_job(argv,env):
 program_signals()
 full=dict(getattr(os,'environb',os.environ))
 if coerced():
  full.pop('LC_CTYPE'.encode(),None)
 full.update(dict([(utf8(k),utf8(v))for k,v in env.items()]))
 argv=[utf8(a)for a in argv]
 argv[0]=argv[0]or utf8(login_shell())
 try:
  os.execvpe(argv[0],argv,full)
 except OSError:
  e=sys.exc_info()[1]
  os.write(2,argv[0]+(': %s\n'%e.strerror).encode())
  return{errno.ENOENT:127}.get(e.errno,126)
def coerced():
 try:
  f=open('/proc/self/environ','rb')
  try:
   return'\0LC_CTYPE='.encode()not in ZERO+f.read()
  finally:
   f.close()
 except(IOError,OSError):
  return 0
def login_shell():
 try:
  import pwd
  return pwd.getpwuid(os.getuid())[6]or'/bin/sh'
 except(ImportError,KeyError):
  return'/bin/sh'
class Members(object):
 files={}
 def where(self,name):
  path=name.replace('.','/')
  for p in(path+'/__init__.py',path+'.py'):
   if p in self.files:
    return p
 def find_spec(self,name,path=None,target=None):
  p=self.where(name)
  if p:
   import _frozen_importlib as b
   spec=b.ModuleSpec(name,self,origin=LIB+'/'+p,is_package=p.endswith('/__init__.py'))
   spec.has_location=True
   if spec.submodule_search_locations is not None:
    spec.submodule_search_locations.append(LIB+'/'+name.replace('.','/'))
   return spec
 def hook(self,item):
  if item.startswith(LIB):
   return self
  raise ImportError(item)
 def create_module(self,spec):
  pass
 def exec_module(self,module):
  exec(self.get_code(module.__name__),module.__dict__)
 def find_module(self,name,path=None):
  if self.where(name):
   return self
 def load_module(self,name):
  m=sys.modules[name]=type(sys)(name)
  m.__file__=self.get_filename(name)
  m.__loader__=self
  m.__package__=name
  if self.is_package(name):
   m.__path__=[LIB+'/'+name.replace('.','/')]
  else:
   m.__package__='.'.join(name.split('.')[:-1])
  try:
   exec(self.get_code(name),m.__dict__)
  except:
   sys.modules.pop(name,None)
   raise
  return sys.modules[name]
 def path(self,name):
  p=self.where(name)
  if not p:
   raise ImportError(name)
  return p
 def get_code(self,name):
  return code_of(self.path(name),self.files)
 def get_source(self,name):
  return contents(self.files[self.path(name)]).decode('utf-8')
 def get_filename(self,name):
  return LIB+'/'+self.path(name)
 _get_filename=get_filename
 def is_package(self,name):
  return self.path(name).endswith('/__init__.py')
 def get_data(self,path):
  if path.startswith(LIB+'/')and path[len(LIB)+1:]in self.files:
   return contents(self.files[path[len(LIB)+1:]])
  raise IOError(errno.ENOENT,os.strerror(errno.ENOENT),path)
MEMBERS=Members()
def contents(member):
 name,i=member
 if name not in FILES:
  FILES[name]=loads(zlib.decompress(MODULES[name][2]))
 return FILES[name][i]
def code_of(path,files):
 key=files[path]+(path,)
 if key not in CODE:
  source=contents(files[path])
  if not PY3:
   source=source.replace('\r\n','\n')+'\n'
  CODE[key]=compile(source,LIB+'/'+path,'exec',0,1)
 return CODE[key]
def learn_zip(number,files):
 ZIPS[number]=files=dict([(native_text(p),(native_text(s),i))for p,s,i in files])
 for path in files:
  if path.endswith('.py')and path!=RARE:
   try:
    code_of(path,files)
   except SyntaxError:
    pass
 if WARM:
  STRANGE[number]=strange(files)
  return
 STRANGE[number]=[]
 MEMBERS.files=files
 sys.meta_path.insert(0,MEMBERS)
 if not PY3:
  sys.path_hooks.insert(0,MEMBERS.hook)
 collects=gc.isenabled()
 if collects:
  gc.collect()
  gc.disable()
 for name in COMMON:
  try:
   if MEMBERS.where(name)or name.split('.')[0]!='ansible':
    __import__(name)
  except Exception:
   forget_warm()
 for name in list(sys.modules):
  if getattr(sys.modules[name],'__loader__',None)is MEMBERS:
   WARM[name]=files[MEMBERS.where(name)]
 if'subprocess'in sys.modules:
  steady(sys.modules['subprocess'].Popen)
 if'locale'in sys.modules:
  warm_locale(sys.modules['locale'])
 if hasattr(gc,'freeze'):
  gc.freeze()
 if collects:
  gc.enable()
def warm_locale(locale):
 before=locale.setlocale(locale.LC_ALL)
 try:
  locale.setlocale(locale.LC_ALL,'')
 except locale.Error:
  return
 locale.setlocale(locale.LC_ALL,before)
def steady(popen):
 poll=popen.poll
 def steady_poll(self):
  if self.returncode is None and 0<=now()-self.__dict__.get('_mitogen_asked',-1)<.001:
   return
  code=poll(self)
  if code is None:
   self._mitogen_asked=now()
  return code
 popen.poll=steady_poll
RARE='ansible/module_utils/distro/_distro.py'
COMMON=['ansible.module_utils.basic','ansible.module_utils._internal._ansiballz._loader','ansible.module_utils._internal._json._profiles._module_legacy_c2m','ansible.module_utils._internal._json._profiles._module_legacy_m2c','ansible.modules','runpy','glob','tempfile','shutil']
def strange(files):
 MEMBERS.files=files
 lacks=[]
 for name in WARM:
  p=MEMBERS.where(name)
  if not p:
   lacks.append(name)
  elif files[p]!=WARM[name]:
   return of_ansible()
 return lacks
def of_ansible():
 return[name for name in sys.modules if name.split('.')[0]in('ansible','ansible_collections')]
def forget_warm():
 for name in of_ansible():
  del sys.modules[name]
def run_ansible_module(spec):
 getattr(sys,'exc_clear',int)()
 MEMBERS.files=files=ZIPS[spec['zip']]
 for name in STRANGE[spec['zip']]:
  del sys.modules[name]
 for k,v in spec['env'].items():
  os.environ[str(k)]=native(utf8(v))
 try:
  os.getcwd()
 except OSError:
  try:
   os.chdir(os.path.expanduser('~'))
  except OSError:
   os.chdir('/')
 if spec['nofile']:
  import resource
  soft,hard=resource.getrlimit(resource.RLIMIT_NOFILE)
  try:
   resource.setrlimit(resource.RLIMIT_NOFILE,(min(hard,spec['nofile']),hard))
  except ValueError:
   pass
 if'random'in sys.modules:
  sys.modules['random'].seed()
 fqn=native(utf8(spec['module']))
 lib,made,first=LIB,None,[]
 if'ansible/module_utils/common/respawn.py'in files:
  made,lib=real_zip(fqn,files)
  first=[lib]
 if spec['python'][:1]=='/':
  sys.executable=native(utf8(spec['python']))
 sys.path[:]=first+[p for p in sys.path if os.path.isabs(p)]
 try:
  try:
   start_module(spec,fqn,lib)
   code=0
  except:
   code=uncaught()
  return ended(code)
 finally:
  if made:
   import shutil
   shutil.rmtree(made,True)
def start_module(spec,fqn,lib):
 params=spec['params']
 if spec['loader']:
  from ansible.module_utils._internal._ansiballz import _loader
  _loader.run_module(json_params=params,profile=spec['profile'],module_fqn=fqn,modlib_path=lib,extensions={})
  return
 import runpy
 from ansible.module_utils import basic
 basic._ANSIBLE_ARGS=params
 runpy.run_module(mod_name=fqn,init_globals={'_module_fqn':fqn,'_modlib_path':lib},run_name='__main__',alter_sys=True)
 sys.stdout.write('{"msg": "New-style module did not handle its own exit", "failed": true}\n')
 sys.exit(1)
def real_zip(fqn,files):
 import tempfile
 import zipfile
 dir=os.path.realpath(tempfile.mkdtemp(prefix='ansible_%s_payload_'%fqn))
 lib=os.path.join(dir,'ansible_%s_payload.zip'%fqn)
 z=zipfile.ZipFile(lib,'w')
 for path in files:
  z.writestr(path,contents(files[path]))
 z.writestr('sitecustomize.py','import sys\nsys.path.insert(0, %r)\n'%lib)
 z.close()
 return dir,lib
def ended(code):
 try:
  if'threading'in sys.modules:
   sys.modules['threading']._shutdown()
  if'atexit'in sys.modules:
   sys.modules['atexit']._run_exitfuncs()
 except:
  uncaught()
 for f in(sys.stdout,sys.stderr):
  try:
   f.flush()
  except Exception:
   pass
 return code
def make_temp(dir):
 see_the_end()
 old=os.umask(int('77',8))
 try:
  make_dir(dir)
  TEMPS[dir]=1
 finally:
  os.umask(old)
def add_modes(bits,paths):
 for path in paths:
  add_mode(bits,path)
def remove_dir(dir):
 TEMPS.pop(dir,0)
 remove(dir)
def write_file(path,mode,data):
 fd=writable(path,mode)
 try:
  while data:
   data=data[os.write(fd,data):]
 finally:
  os.close(fd)
def unpack_file(path,mode,name):
 write_file(path,mode,zlib.decompress(MODULES.pop(native(name))[2]))
STEPS={'unpack':unpack_file,'mkdir':make_temp,'chmod':add_modes,'rm':remove_dir,'put':write_file}
def encoded(v):
 if type(v)is TEXT:
  return utf8(v)
 if type(v)in(list,tuple):
  return[encoded(x)for x in v]
 return v
def by_login(yes,do):
 if not yes:
  return do()
 if not LENT:
  uid,gid=[int(os.environ[name])for name in('SUDO_UID','SUDO_GID')]
  LENT.extend((uid,gid,groups_of(uid,gid)))
 groups,gid=os.getgroups(),os.getegid()
 try:
  os.setgroups(LENT[2])
  os.setegid(LENT[1])
  os.seteuid(LENT[0])
  return do()
 finally:
  os.seteuid(0)
  os.setegid(gid)
  os.setgroups(groups)
def groups_of(uid,gid):
 import grp
 import pwd
 name=pwd.getpwuid(uid)[0]
 if hasattr(os,'getgrouplist'):
  return os.getgrouplist(name,gid)
 return[gid]+[g[2]for g in grp.getgrall()if name in g[3]]
def do_files(key,spec):
 def do():
  for step in spec['steps']:
   STEPS[step[0]](*encoded(step[1:]))
 by_login(spec['login'],do)
 send(key[0],key[1])
def do_home(key,spec):
 import pwd
 user=native(utf8(spec['user']))
 try:
  if user:
   home=pwd.getpwnam(user)[5]
  else:
   home=pwd.getpwuid(int(os.environ['SUDO_UID']))[5]
 except KeyError:
  home='~'+user
 by_login(1,lambda:0)
 if PY3:
  home=home.encode('utf-8','surrogateescape')
 send(key[0],key[1],home)
def do_pass(key,spec):
 to=ROUTES.get(spec['to'])
 if to:
  for name in spec['names']:
   to.put(passed(spec['to'],native(utf8(name))))
  to.flush()
 send(key[0],key[1])
def do_drop(key,spec):
 for name in spec['names']:
  MODULES.pop(native(utf8(name)),0)
 send(key[0],key[1])
def do_put(key,spec):
 by_login(spec['login'],lambda:Upload(key,spec['path'],spec['mode']))
def do_get(key,spec):
 fd=by_login(spec['login'],lambda:readable(utf8(spec['path'])))
 Download().begin(key,{fd:'1'.encode()})
def fresh(key):
 if changes()==BEFORE[0]:
  return 1
 refuse(key,'StaleError','what made this context has changed')
def do_exec(key,spec):
 if fresh(key):
  Job(key,spec['tty'],lambda:execute_job(spec['argv'],spec['env']))
def do_module(key,spec):
 if spec['files']:
  learn_zip(spec['zip'],spec['files'])
 if fresh(key):
  j=Job(key,0,lambda:run_ansible_module(spec))
  j.eof=j.late=1
  j.flush()
def serve_ansible(key,spec):
 op=spec['op']
 if op in('exec','module')and not BEFORE:
  settle_in()
 OPERATIONS[op](key,spec)
OPERATIONS={'files':do_files,'home':do_home,'pass':do_pass,'drop':do_drop,'put':do_put,'get':do_get,'exec':do_exec,'module':do_module}
SERVICES['ansible']=serve_ansible
