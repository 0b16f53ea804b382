import _mitogen as core
class Error(Exception):
 def __init__(self,module,type,text,traceback='',arguments=None):
  Exception.__init__(self,module,type,text,traceback,arguments)
  self.module,self.type,self.text,self.traceback,self.arguments=module,type,text,traceback,arguments
 def __str__(self):
  return'%s: %s'%(self.type,self.text)
 def __reduce__(self):
  return Error,(self.module,self.type,self.text,self.traceback,self.arguments)
class DeadError(Exception):
 pass
class Secret(core.TEXT):
 def __repr__(self):
  return"Secret('********')"
 def __reduce__(self):
  return Secret,(core.TEXT(self),)
class Blob(type(core.EMPTY)):
 def __repr__(self):
  return'<Blob of %d bytes>'%len(self)
 def __reduce__(self):
  return Blob,(type(core.EMPTY)(self),)
def _consumed(src,handle,data):
 core.credit(src,handle,(len(data)-1)%core.MAX_PAYLOAD+1)
class Context(object):
 def __init__(self,id,name=''):
  self.id=id
  self.name=name
 def __repr__(self):
  return'Context(%d, %r)'%(self.id,self.name)
 def __reduce__(self):
  return Context,(self.id,self.name)
 def __eq__(self,other):
  return isinstance(other,Context)and other.id==self.id
 def __ne__(self,other):
  return not self==other
 def __hash__(self):
  return hash(self.id)
 def call(self,target,*args,**kwargs):
  got,items=[],[]
  def arrived(src,reply,kind,data):
   if src!=self.id:
    return
   if kind==core.ITEM:
    items.append(data)
    _consumed(src,handle,data)
   else:
    got.append((kind,data))
  arrived.source=self.id
  handle=core.register(arrived)
  data=target.encode('utf-8')+core.ZERO
  if args or kwargs:
   data+=core.dumps((args,kwargs),2)
  try:
   core.emit(self.id,core.CALL,data,core.DATA,handle)
   core.settle(1)
   core.wait(lambda:got)
  finally:
   del core.HANDLERS[handle]
   core.atomic(core.spend,(self.id,handle))
  kind,data=got[0]
  if kind==core.DEAD:
   raise DeadError(core.native(data))
  value=None
  if data:
   value=core.loads(data)
  if kind==core.ERROR:
   raise Error(*value)
  return[core.loads(i)for i in items]or value
_SENDING={}
_REFUSED={}
def _credited(src,reply,kind,data):
 flow,n=core.unpack('>LL',data)
 if not n and flow>=1000 and(not src or(src,flow)in core.FLOWS):
  _REFUSED[src,flow]=1
  n=core.WINDOW
 _credit(src,reply,kind,core.pack('>LL',flow,n))
def _dispatch(src,handle,reply,kind,data):
 if kind==core.ITEM and not reply and handle>=1000 and handle not in core.HANDLERS:
  core.credit(src,handle,0)
 _known(src,handle,reply,kind,data)
_known=core.dispatch
core.dispatch=_dispatch
_credit=core.HANDLERS[core.CREDIT]
core.HANDLERS[core.CREDIT]=_credited
class Sender(object):
 def __init__(self,context,handle):
  self.context=context
  self.handle=handle
  _REFUSED.pop((context,handle),None)
 def __reduce__(self):
  return Sender,(self.context,self.handle)
 def send(self,value):
  data=core.dumps(value,core.PROTO)
  turn=_SENDING.setdefault((self.context,self.handle),core.thread.allocate_lock())
  turn.acquire()
  try:
   self._check()
   core.emit(self.context,self.handle,data,core.ITEM)
   self._check()
  finally:
   turn.release()
 def _check(self):
  if(self.context,self.handle)in _REFUSED:
   raise DeadError('receiver %d of context %d is closed, not given to this one, or gone'%(self.handle,self.context))
 def close(self):
  core.send(self.context,self.handle)
  core.atomic(core.spend,(self.context,self.handle))
  _SENDING.pop((self.context,self.handle),None)
class Receiver(object):
 def __init__(self):
  self._values=core.deque()
  self._closed=0
  self._sources={}
  self.handle=core.register(self._arrived)
 def sender(self):
  return Sender(core.ME,self.handle)
 def _arrived(self,src,reply,kind,data):
  if kind==core.ITEM:
   self._sources[src]=1
   self._values.append((src,data))
  else:
   self._closed=1
  if reply:
   core.send(src,reply)
 def get(self,timeout=None):
  end=None
  if timeout is not None:
   end=core.now()+timeout
   _DEADLINES.append(end)
   core.poke()
  try:
   got=None
   while not got:
    core.wait(lambda:self._values or self._closed or(end and core.now()>=end))
    got=self._take()
    if not got and self._closed:
     raise DeadError('closed')
    if not got and end and core.now()>=end:
     raise IndexError('nothing came within %s s'%timeout)
  finally:
   if end:
    _DEADLINES.remove(end)
  src,data=got
  _consumed(src,self.handle,data)
  return core.loads(data)
 def _take(self):
  try:
   return self._values.popleft()
  except IndexError:
   return None
 def __iter__(self):
  while 1:
   try:
    value=self.get()
   except DeadError:
    return
   yield value
 def close(self):
  self._closed=1
  if core.HANDLERS.pop(self.handle,None):
   for src in list(self._sources):
    core.credit(src,self.handle,0)
_DEADLINES=[]
_due=core.DUE[0]
def _next():
 return min([_due()]+[max(0,t-core.now())for t in _DEADLINES])
core.DUE[0]=_next
