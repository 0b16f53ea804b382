package packages

// A use is a package of PyPI and what is done with it: the body of a Python function that returns
// True.
type use struct {
	name string
	body string

	// fails says why the use fails, by Python version, where it does.
	fails map[string]string

	pure bool // of a package with extension modules: its sources do, and go in their place
}

// uses are the packages that are tried: libraries of all kinds, carriers of data, namespace
// packages, lazy loaders.
var uses = []use{
	{name: "attrs", body: "import attr\n@attr.s\nclass P(object):\n    x = attr.ib(default=1)\n" +
		"return P() == P(1) and attr.asdict(P(2)) == {'x': 2}"},
	{name: "azure-core", body: "from azure.core.pipeline.transport import HttpRequest\nfrom " +
		"azure.core import CaseInsensitiveEnumMeta\nreturn HttpRequest('GET', 'http://x/y').url == " +
		"'http://x/y'"},
	{name: "babel", body: "import datetime\nfrom babel.dates import format_date\nreturn " +
		"format_date(datetime.date(2020, 5, 1), locale='de_DE', format='long') == '1. Mai 2020'"},
	{name: "beautifulsoup4", body: "from bs4 import BeautifulSoup\nreturn " +
		"BeautifulSoup('<p>a<b>c</b></p>', 'html5lib').b.text == 'c'"},
	{name: "boto3", body: "import boto3\nc = boto3.client('s3', region_name='eu-west-1', " +
		"aws_access_key_id='a', aws_secret_access_key='b')\nreturn c.meta.region_name == 'eu-west-1' " +
		"and 'x' in c.generate_presigned_url('get_object', {'Bucket': 'x', 'Key': 'y'})"},
	{name: "botocore", body: "import botocore.session\nreturn 'ec2' in " +
		"botocore.session.get_session().get_available_services()"},
	{name: "bottle", body: "import bottle\nreturn bottle.template('a{{x}}', x=1) == 'a1'"},
	{name: "certifi", body: "import certifi\nreturn 'BEGIN CERTIFICATE' in certifi.contents() and " +
		"'BEGIN CERTIFICATE' in open(certifi.where()).read()"},
	{name: "click", body: "import click\n@click.command()\n@click.option('--n', default=1)\ndef " +
		"f(n):\n    return n + 1\nreturn f.main(['--n', '2'], standalone_mode=False) == 3"},
	{name: "django", body: "from django.conf import settings\n" +
		"settings.configure(TEMPLATES=[{'BACKEND': " +
		"'django.template.backends.django.DjangoTemplates'}])\nimport django\ndjango.setup()\nfrom " +
		"django.db import models\nfrom django.template import Template, Context\nreturn Template('{{ " +
		"x|upper }}').render(Context({'x': 'a'})) == 'A' and models.Q(a=1) is not None"},
	{name: "docutils", body: "from docutils.core import publish_doctree\nreturn publish_doctree('a " +
		"*b*').astext() == 'a b'"},
	{name: "faker", body: "import faker\nf = faker.Faker('de_DE')\nf.seed_instance(1) if hasattr(f, " +
		"'seed_instance') else f.seed(1)\nreturn len(f.name()) > 3"},
	{name: "flask", body: "import flask\na = flask.Flask(__name__, root_path='/')\n" +
		"a.add_url_rule('/y', 'y', lambda: 'hello')\nreturn a.test_client().get('/y').data == b'hello'"},
	{name: "httpx", body: "import httpx\nt = httpx.MockTransport(lambda r: httpx.Response(200, " +
		"text='x'))\nreturn httpx.Client(transport=t, verify=False).get('http://y/').text == 'x'"},
	{name: "idna", body: "import idna\nreturn idna.encode(u'b\\xfccher.de') == b'xn--bcher-kva.de'"},
	{name: "importlib_resources",
		body: "import importlib_resources as r\nreturn " +
			"bool(r.files('importlib_resources').joinpath('__init__.py').read_text())"},
	{name: "jaraco", body: "import jaraco.functools\nreturn jaraco.functools.compose(str, int)('1') " +
		"== '1'"},
	{name: "jinja2", body: "import jinja2\nreturn jinja2.Template('{% for i in x %}{{ i }}{% endfor " +
		"%}').render(x=[1, 2]) == '12'"},
	{name: "jsonschema", body: "import jsonschema\njsonschema.validate({'a': 1}, {'type': 'object', " +
		"'properties': {'a': {'type': 'integer'}}})\ntry:\n    jsonschema.validate(1, {'type': " +
		"'string'})\nexcept jsonschema.ValidationError:\n    return True"},
	{name: "lazy_loader", body: "import lazy_loader\nimport lazy_loader as l\nj = l.load('json')\n" +
		"return j.dumps([1]) == '[1]'"},
	{name: "mako", body: "from mako.template import Template\nreturn Template('a${x}').render(x=1) " +
		"== 'a1'"},
	{name: "markdown", body: "import markdown\nreturn markdown.markdown('*a*', " +
		"extensions=['markdown.extensions.tables']) == '<p><em>a</em></p>'"},
	{name: "marshmallow", body: "import marshmallow as m\nclass S(m.Schema):\n    x = " +
		"m.fields.Int()\nr = S().dump({'x': '1'})\nreturn getattr(r, 'data', r) == {'x': 1}"},
	{name: "networkx", body: "import networkx as nx\ng = nx.Graph()\ng.add_edges_from([(1, 2), (2, " +
		"3)])\nreturn nx.shortest_path(g, 1, 3) == [1, 2, 3]"},
	{name: "openpyxl", body: "import io, openpyxl\nw = openpyxl.Workbook()\nw.active['A1'] = 5\nf = " +
		"io.BytesIO()\nw.save(f)\nf.seek(0)\nreturn openpyxl.load_workbook(f).active['A1'].value == 5"},
	{name: "packaging", body: "from packaging.version import Version\nfrom packaging.specifiers " +
		"import SpecifierSet\nreturn Version('1.10') > Version('1.9') and '1.5' in " +
		"SpecifierSet('>1,<2')"},
	{name: "prompt_toolkit", body: "from prompt_toolkit.formatted_text import HTML, " +
		"to_formatted_text\nreturn to_formatted_text(HTML(u'<b>x</b>'))[0][1] == 'x'"},
	{name: "pygments", body: "from pygments import highlight\nfrom pygments.lexers import " +
		"get_lexer_by_name\nfrom pygments.formatters import get_formatter_by_name\nreturn 'span' in " +
		"highlight('x = 1', get_lexer_by_name('python'), get_formatter_by_name('html'))"},
	{name: "pyparsing", body: "import pyparsing as p\nreturn p.Word(p.alphas).parseString('ab1')[0] " +
		"== 'ab'"},
	{name: "python-dateutil", body: "import datetime\nfrom dateutil import parser, relativedelta, " +
		"rrule\nd = parser.parse('2020-05-01')\nreturn list(rrule.rrule(rrule.DAILY, count=2, " +
		"dtstart=d))[1] == d + relativedelta.relativedelta(days=1)"},
	{name: "pytz", body: "import datetime, pytz\nreturn " +
		"pytz.timezone('Europe/Berlin').utcoffset(datetime.datetime(2020, 7, 1)).seconds == 7200"},
	{name: "pyyaml", body: "import yaml\nreturn yaml.safe_load('a: [1, {b: c}]') == {'a': [1, {'b': " +
		"'c'}]}"},
	{name: "requests", body: "import requests\nreturn requests.Request('GET', 'http://x/', " +
		"params={'a': 1}).prepare().url == 'http://x/?a=1'"},
	{name: "rich", body: "import io\nfrom rich.console import Console\nfrom rich.table import " +
		"Table\nf = io.StringIO()\nt = Table('a')\nt.add_row('b')\nConsole(file=f).print(t)\n" +
		"return 'b' in f.getvalue()"},
	{name: "ruamel.yaml", body: "import ruamel.yaml as y\nreturn dict(y.YAML(typ='safe', " +
		"pure=True).load('a: 1')) == {'a': 1}"},
	{name: "six", body: "import six\nfrom six.moves import urllib, configparser\nfrom " +
		"six.moves.urllib.parse import quote\nreturn quote('a b') == 'a%20b' and " +
		"configparser.ConfigParser is not None"},
	{name: "sqlalchemy", body: "import sqlalchemy as sa\nt = sa.Table('t', sa.MetaData(), " +
		"sa.Column('x', sa.Integer))\nreturn 'SELECT t.x' in str(sa.select([t]) if sa.__version__ < " +
		"'1.4' else sa.select(t))"},
	{name: "sympy", body: "import sympy\nx = sympy.Symbol('x')\nreturn sympy.diff(x ** 3, x) == 3 * " +
		"x ** 2"},
	{name: "tabulate", body: "import tabulate\nreturn tabulate.tabulate([[1]], tablefmt='plain') == " +
		"'1'"},
	{name: "tqdm", body: "import io, tqdm\nreturn list(tqdm.tqdm([1, 2], disable=True)) == [1, 2]"},
	{name: "tzdata", body: "import pkgutil, tzdata\nimport tzdata.zoneinfo.Europe\nreturn " +
		"pkgutil.get_data('tzdata.zoneinfo.Europe', 'Berlin')[:4] == b'TZif'"},
	{name: "urllib3", body: "import urllib3\nreturn urllib3.util.parse_url('http://x:1/y').port == " +
		"1 and urllib3.PoolManager() is not None"},
	{name: "werkzeug", body: "from werkzeug.routing import Map, Rule\nm = Map([Rule('/<int:x>', " +
		"endpoint='e')])\nreturn m.bind('h').match('/5') == ('e', {'x': 5})"},
	{name: "zope.interface", body: "from zope.interface import Interface, implementer\nclass " +
		"I(Interface):\n    pass\n@implementer(I)\nclass C(object):\n    pass\nreturn I.providedBy(C())"},
}
