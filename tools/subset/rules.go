package main

// version is a Python's (major, minor) as major*100 + minor.
type version int

// never is the version of what not all supported Pythons have, however late the subset begins:
// things that Python 3 took away.
const never version = 10000

// rule says from which version on something can be used, and what else to do.
type rule struct {
	since   version
	instead string
}

// words are refused wherever they stand, as attributes too: they are keywords in some Python.
var words = map[string]rule{
	"with":     {206, "use try/finally"},
	"nonlocal": {300, "use a list or an attribute"},
	"async":    {never, "it is a keyword since 3.7"},
	"await":    {never, "it is a keyword since 3.7"},
	"print":    {never, "write to sys.stdout"},
}

// builtins are refused as names, unless the file binds them itself.
var builtins = map[string]rule{
	"any":                 {205, "use a comprehension"},
	"all":                 {205, "use a comprehension"},
	"BaseException":       {205, "use a bare except"},
	"GeneratorExit":       {205, ""},
	"next":                {206, "use a for loop"},
	"bytes":               {206, "use type(EMPTY)"},
	"bytearray":           {206, ""},
	"bin":                 {206, ""},
	"format":              {206, "use %"},
	"memoryview":          {207, ""},
	"callable":            {302, "use hasattr(x, '__call__')"},
	"exit":                {never, "site defines it; use sys.exit"},
	"quit":                {never, "site defines it; use sys.exit"},
	"ascii":               {300, ""},
	"breakpoint":          {307, ""},
	"ModuleNotFoundError": {306, "use ImportError"},
	"BlockingIOError":     {303, "use OSError and errno"},
	"BrokenPipeError":     {303, "use OSError and errno"},
	"ChildProcessError":   {303, "use OSError and errno"},
	"ConnectionError":     {303, "use OSError and errno"},
	"FileExistsError":     {303, "use OSError and errno"},
	"FileNotFoundError":   {303, "use OSError and errno"},
	"InterruptedError":    {303, "use OSError and errno"},
	"PermissionError":     {303, "use OSError and errno"},
	"ProcessLookupError":  {303, "use OSError and errno"},
	"TimeoutError":        {303, "use OSError and errno"},
	"RecursionError":      {305, "use RuntimeError"},
	"StopAsyncIteration":  {305, ""},
	"ExceptionGroup":      {311, ""},
	"StandardError":       {never, "use Exception"},
	"WindowsError":        {never, "use OSError"},
	"apply":               {never, "use f(*args)"},
	"basestring":          {never, "compare with type('') and type(u)"},
	"buffer":              {never, "slice"},
	"cmp":                 {never, ""},
	"coerce":              {never, ""},
	"execfile":            {never, "use exec(compile(…))"},
	"file":                {never, "use open"},
	"intern":              {never, ""},
	"long":                {never, "use int"},
	"raw_input":           {never, "use sys.stdin"},
	"reduce":              {never, "use a loop"},
	"reload":              {never, ""},
	"unichr":              {never, ""},
	"unicode":             {never, "use type(''.decode('ascii'))"},
	"xrange":              {never, "use range"},
}

// attributes are refused behind a dot.
var attributes = map[string]rule{
	"partition":         {205, "use split or find"},
	"rpartition":        {205, "use rsplit or rfind"},
	"Struct":            {205, "use struct.pack"},
	"unpack_from":       {205, "use struct.unpack on a slice"},
	"pack_into":         {205, "use struct.pack"},
	"check_call":        {205, ""},
	"format":            {206, "use %"},
	"closerange":        {206, "use a loop"},
	"relpath":           {206, ""},
	"maxsize":           {206, ""},
	"current_thread":    {206, "use currentThread or _thread"},
	"is_alive":          {206, ""},
	"send_signal":       {206, "use os.kill"},
	"check_output":      {207, "use Popen and communicate"},
	"bit_length":        {207, ""},
	"total_seconds":     {207, ""},
	"major":             {207, "use sys.version_info[0]"},
	"minor":             {207, "use sys.version_info[1]"},
	"monotonic":         {303, "use getattr"},
	"perf_counter":      {303, "use getattr"},
	"with_traceback":    {300, ""},
	"__traceback__":     {300, "use sys.exc_info()[2]"},
	"__cause__":         {300, ""},
	"from_bytes":        {302, "use struct.unpack"},
	"to_bytes":          {302, "use struct.pack"},
	"get_terminal_size": {303, ""},
	"isidentifier":      {300, ""},
	"removeprefix":      {309, "use a slice"},
	"removesuffix":      {309, "use a slice"},
	"has_key":           {never, "use in"},
	"iteritems":         {never, "use items"},
	"iterkeys":          {never, "use keys"},
	"itervalues":        {never, "use values"},
	"maxint":            {never, ""},
	"exc_clear":         {never, ""},
	"exc_type":          {never, "use sys.exc_info"},
	"exc_value":         {never, "use sys.exc_info"},
	"getcwdu":           {never, "use os.getcwd"},
	"isAlive":           {never, "gone in 3.9"},
	"next":              {never, "use a for loop"},
	"func_name":         {never, "use __name__"},
	"func_code":         {never, ""},
	"func_globals":      {never, ""},
	"im_func":           {never, ""},
	"im_self":           {never, ""},
	"popen2":            {never, "use subprocess"},
	"letters":           {never, ""},
}

// modules are refused where they are imported unconditionally: at the margin of a file.
var modules = map[string]rule{
	"functools":       {205, ""},
	"contextlib":      {205, ""},
	"ctypes":          {205, "import it where it is used"},
	"hashlib":         {205, "import it where it is used"},
	"sqlite3":         {205, ""},
	"uuid":            {205, ""},
	"ast":             {206, ""},
	"io":              {206, "try, else cStringIO"},
	"json":            {206, ""},
	"multiprocessing": {206, ""},
	"numbers":         {206, ""},
	"argparse":        {207, "use optparse"},
	"importlib":       {207, "use __import__"},
	"sysconfig":       {207, ""},
	"_thread":         {300, "try, else thread"},
	"builtins":        {300, "use sys.modules[object.__module__]"},
	"configparser":    {300, ""},
	"queue":           {300, ""},
	"socketserver":    {300, ""},
	"asyncio":         {304, ""},
	"enum":            {304, ""},
	"pathlib":         {304, ""},
	"typing":          {305, ""},
	"dataclasses":     {307, ""},
	"ConfigParser":    {never, ""},
	"Queue":           {never, ""},
	"SocketServer":    {never, ""},
	"StringIO":        {never, "try, else io"},
	"__builtin__":     {never, "use sys.modules[object.__module__]"},
	"cPickle":         {never, "try, else pickle"},
	"cStringIO":       {never, "try, else io"},
	"commands":        {never, "use subprocess"},
	"copy_reg":        {never, ""},
	"imp":             {never, "gone in 3.12"},
	"asyncore":        {never, "gone in 3.12"},
	"distutils":       {never, "gone in 3.12"},
	"crypt":           {never, "gone in 3.13"},
	"pipes":           {never, "gone in 3.13"},
	"md5":             {never, ""},
	"popen2":          {never, ""},
	"sets":            {never, "use set"},
	"sha":             {never, ""},
	"thread":          {never, "try _thread first"},
	"urllib2":         {never, ""},
}

// inner are modules of the import system that are refused wherever they are imported: no import of
// something older behind a try helps where there is none.
var inner = map[string]rule{
	"_frozen_importlib":          {303, "test for the version, and say so"},
	"_frozen_importlib_external": {305, "test for the version, and say so"},
	"importlib._bootstrap":       {303, ""},
}

// futures are the names in __future__, with the version that added each.
var futures = map[string]rule{
	"absolute_import":  {205, ""},
	"with_statement":   {205, ""},
	"print_function":   {206, ""},
	"unicode_literals": {206, ""},
	"annotations":      {307, ""},
	"generator_stop":   {305, ""},
}

// prefixes are those of strings, in lower case.
var prefixes = map[string]rule{
	"b":  {206, "use ''.encode()"},
	"br": {206, "use r''.encode()"},
	"rb": {303, "use r''.encode()"},
	"u":  {303, "decode"},
	"ur": {never, "decode"},
	"f":  {306, "use %"},
	"fr": {306, "use %"},
	"rf": {306, "use %"},
	"t":  {314, ""},
	"tr": {314, ""},
	"rt": {314, ""},
}

// operators are refused wherever they stand.
var operators = map[string]rule{
	"`":  {never, "use repr"},
	"<>": {never, "use !="},
	":=": {308, "assign first"},
	"->": {300, "annotations are no part of the subset"},
	"@=": {305, ""},
}

// shapes are the rules for the structure of statements.
var shapes = map[string]rule{
	"conditional expression":                     {205, "use if and else"},
	"except … as":                                {206, "use sys.exc_info()[1]"},
	"except X, e":                                {never, "use sys.exc_info()[1]"},
	"except*":                                    {311, ""},
	"bare except before another":                 {never, "it must be the last"},
	"try with except and finally":                {205, "nest two"},
	"yield in try with finally":                  {205, ""},
	"yield as an expression":                     {205, ""},
	"yield from":                                 {303, "use a for loop"},
	"return of a value in a generator":           {303, ""},
	"return in finally":                          {never, "3.14 warns"},
	"decorated class":                            {206, "call the decorator"},
	"class with empty brackets":                  {205, "leave them out"},
	"class with keywords":                        {300, "call the metaclass"},
	"keyword-only or positional-only parameters": {300, "take **kwargs"},
	"annotation":                                 {300, ""},
	"tuple as a parameter":                       {never, "unpack in the body"},
	"exec as a statement":                        {never, "use exec(code, names)"},
	"exec in or around a nested function":        {never, "2.7.8 refuses it; use eval(code, names)"},
	"faulthandler.enable given a descriptor":     {305, "3.4 wants a file; catch all and say so"},
	"raise X, y":                                 {never, "use raise X(y)"},
	"raise … from":                               {300, ""},
	"relative import":                            {205, "name the package"},
	"set or dict comprehension":                  {207, "use set([…]) or dict([…])"},
	"set literal":                                {207, "use set([…])"},
	"starred expression":                         {305, "concatenate"},
	"argument after *args":                       {206, "put it before"},
	"tuple given to startswith or endswith":      {205, "use or"},
	"key given to min or max":                    {205, "use sorted"},
	"matrix multiplication":                      {305, ""},
	"octal literal":                              {never, "use int('755', 8)"},
	"binary literal":                             {206, "use int(…, 2)"},
	"underscore in a number":                     {306, ""},
	"long literal":                               {never, "leave the L out"},
	"number next to a name":                      {never, "3.12 warns; put a blank between"},
	"comparison by is with a literal":            {never, "3.8 warns; use =="},
	"invalid escape":                             {never, "3.12 warns; double the backslash"},
	"escape that only text has":                  {never, "decode"},
	"character outside ASCII":                    {never, "Python 2 wants a coding line"},
	"tab in indentation":                         {never, "use blanks"},
}
