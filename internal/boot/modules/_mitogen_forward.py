KEEP=67108864
LARGEST=134217728
PASSAGES={}
KEPT={}
USED=[]
ANNOUNCED=[]
COMPLETE={}
OPEN=[]
PROGRESS=[0,0]
INSTALLING=thread.allocate_lock()
BUSY={}
SHA256=[]
class Passage:
 def __init__(self):
  self.payloads=[]
  self.got=0
  self.waits=[]
def passing(dst,data):
 id=data[:16]
 total,offset=unpack('>LL',data[16:24])
 p=PASSAGES.get((id,dst))
 if not offset:
  if p:
   drop(id,dst)
  p=PASSAGES[id,dst]=Passage()
 if not p or offset!=p.got or total>LARGEST:
  return
 p.payloads.append(data)
 p.got+=len(data)-24
 for ctx in p.waits:
  send_piece(ctx,data)
 if p.got>=total:
  del PASSAGES[id,dst]
  keep(id,p.payloads)
  return p.payloads
def keep(id,payloads):
 KEPT[id]=payloads
 use(id)
 while sum([len(d)for k in KEPT.values()for d in k])>KEEP:
  del KEPT[USED.pop(0)]
def use(id):
 if id in USED:
  USED.remove(id)
 USED.append(id)
def drop(id,dst):
 for ctx in PASSAGES.pop((id,dst)).waits:
  send(0,DROPPED,id+pack('>L',ctx))
def cut_off():
 for id,dst in list(PASSAGES):
  if dst!=ME and dst not in ROUTES:
   drop(id,dst)
def send_piece(ctx,data):
 way=ROUTES.get(ctx)
 if way:
  way.put((pack('>7L',MAGIC,ctx,ME,ME,BUNDLE,0,len(data)),data,TRAILER))
  way.flush()
def on_bundle(src,reply,kind,data):
 if data[:16]in ANNOUNCED:
  progress()
  payloads=passing(ME,data)
  if payloads:
   COMPLETE[data[:16]]=payloads
def on_forward(src,reply,kind,data):
 id=data[:16]
 ctx=unpack('>L',data[16:20])[0]
 if id in KEPT:
  use(id)
  if ctx==ME:
   COMPLETE[id]=KEPT[id]
   return progress()
  for d in KEPT[id]:
   send_piece(ctx,d)
  if ctx in ROUTES:
   return
 for key in PASSAGES:
  if key[0]==id and ctx in ROUTES:
   for d in PASSAGES[key].payloads:
    send_piece(ctx,d)
   return PASSAGES[key].waits.append(ctx)
 send(0,DROPPED,data[:20])
def on_coming(src,reply,kind,data):
 del OPEN[:unpack('>L',data[:4])[0]]
 ANNOUNCED.extend([data[i:i+16]for i in range(4,len(data),16)])
 progress()
def progress():
 PROGRESS[:]=[PROGRESS[0]+1,now()]
def on_ask(src,reply,kind,data):
 names=data.split(ZERO)
 OPEN.append([native(n)for n in names])
 def answer():
  send(0,LACKS,ZERO.join([n for n in names if not has(native(n))]))
 if[f for f in sys.meta_path if f is not IMPORTER and not getattr(f,'__module__','').startswith('_frozen_importlib')]and PY3:
  thread.start_new_thread(answer,())
 else:
  answer()
def has(name):
 path=None
 full=''
 for part in name.split('.'):
  full+=part
  m=sys.modules.get(full)
  if m is not None and getattr(m,'__spec__',1)is not None and getattr(m,'__loader__',None)is not IMPORTER:
   path=getattr(m,'__path__',None)
   full+='.'
   continue
  try:
   found,path=locate(full,path)
  except Exception:
   return 0
  if not found:
   return 0
  full+='.'
 return 1
def locate(name,path):
 if sys.version_info>(3,4):
  spec=IMPORTER.local(name,path)
  places=spec and spec.submodule_search_locations
  return spec,places and list(getattr(places,'_path',places))
 tail=name.split('.')[-1]
 if path is None and tail in sys.builtin_module_names:
  return 1,None
 try:
  f,place,kind=imp.find_module(tail,path)
  if f:
   f.close()
  return 1,[place]
 except ImportError:
  return IMPORTER.local(name,path),[os.path.join(p,tail)for p in path or sys.path]
def expected(name):
 if name in ASKED or ANNOUNCED:
  return 1
 for names in OPEN:
  for n in names:
   if(name+'.').startswith(n+'.')or n.startswith(name+'.'):
    return 1
def lending(wait):
 imp=sys.modules['_imp']
 def lend(ready):
  n=0
  try:
   while imp.lock_held():
    imp.release_lock()
    n+=1
  except RuntimeError:
   pass
  try:
   wait(ready)
  finally:
   for i in range(n):
    imp.acquire_lock()
 return lend
if'_imp'in sys.modules:
 wait=lending(wait)
def bring(name):
 install()
 if name is None or os.getpid()!=PID:
  return
 start=now()
 while name not in MODULES and expected(name):
  n=PROGRESS[0]
  end=max(start,PROGRESS[1])+PATIENCE
  wait(lambda:PROGRESS[0]!=n or name in MODULES or now()>end)
  install()
  if now()>end and PROGRESS[0]==n and name not in MODULES:
   IMPORTER.nowhere(name,'nothing that may bring it came within %d s'%PATIENCE)
def install():
 me=thread.get_ident()
 if not ANNOUNCED or ANNOUNCED[0]not in COMPLETE or me in BUSY or os.getpid()!=PID:
  return
 BUSY[me]=1
 try:
  if not SHA256:
   SHA256.append(sha256())
  atomic(take_in)
 finally:
  del BUSY[me]
def sha256():
 names=('_sha256','hashlib')
 if sys.version_info>(3,12):
  names=('_sha2','hashlib')
 for module in names:
  try:
   return __import__(module).sha256
  except ImportError:
   pass
def take_in():
 INSTALLING.acquire()
 try:
  while ANNOUNCED and ANNOUNCED[0]in COMPLETE:
   id=ANNOUNCED[0]
   try:
    groups=unpack_bundle(id,COMPLETE[id])
   except Exception:
    log(40,'mitogen','a bundle is broken: %s'%sys.exc_info()[1])
    KEPT.pop(id,0)
    groups=[]
   for g in groups:
    MODULES.update(g)
   del COMPLETE[id]
   ANNOUNCED.remove(id)
 finally:
  INSTALLING.release()
def unpack_bundle(id,payloads):
 z=zlib.decompressobj()
 text=z.decompress(EMPTY.join([d[24:]for d in payloads]),LARGEST)
 if z.unconsumed_tail:
  raise ValueError('it is too large')
 if SHA256[0]and SHA256[0](text).digest()[:16]!=id:
  raise ValueError('it is not what it is called')
 groups=[]
 pos=0
 while pos<len(text):
  group={}
  end=pos+4+unpack('>L',text[pos:pos+4])[0]
  pos+=4
  while pos<end:
   size=unpack('>L',text[pos:pos+4])[0]
   name,path,rest=text[pos+4:pos+4+size].split(ZERO,2)
   name,letter=native(name),native(rest[:1])
   if letter in'mp'or name not in MODULES:
    group[name]=letter,native(path),rest[1:],1
   pos+=4+size
  groups.append(group)
 return groups
COMES.append(bring)
PASSES[BUNDLE]=lambda dst,raw:passing(dst,raw[28:-2])
HANDLERS.update({BUNDLE:on_bundle,FORWARD:on_forward,ASK:on_ask,COMING:on_coming})
