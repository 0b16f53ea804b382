"""What a program does on any target, from Python 2.4 on."""

import os
import sys
import tempfile
import unittest

import mitogo
import mitogo.aio
import needs

TARGET = os.environ['MITO_TEST_TARGET']


def main_is(value):
    return [value, value]


class Targets(unittest.TestCase):
    def test_all(self):
        with mitogo.Engine(output=lambda target, text: shown.append(text)) as m:
            shown = []
            c = m.connect('local', python=TARGET)
            self.assertEqual(c.call(os.getpid), c.info.pid)  # before it is known which Python it is
            self.assertEqual(c.call(main_is, 'tëxt'), ['tëxt', 'tëxt'])
            for v in (None, True, 1 << 70, 1.5, 'tëxt', [1], (1,), {'a': 1}, set([1])):
                self.assertEqual(c.call(main_is, v), [v, v])
            self.assertEqual(c.call(len, [1, 2]), 2)
            with self.assertRaises(OSError) as e:
                c.call('os:listdir', '/no/such/dir')
            self.assertEqual(
                (e.exception.errno, isinstance(e.exception, mitogo.CallError)), (2, True)
            )
            p = c.run(['sh', '-c', 'cat; exit 3'], input=b'\xff\0in', text=False)
            self.assertEqual((p.returncode, p.stdout), (3, b'\xff\0in'))
            with tempfile.TemporaryDirectory() as d:
                a, b, back = [os.path.join(d, n) for n in ('a', 'b', 'back')]
                with open(a, 'wb') as f:
                    f.write(bytes(bytearray(range(256))) * 2000)
                c.put(a, b)
                c.get(b, back)
                with open(a, 'rb') as f, open(back, 'rb') as g:
                    self.assertEqual(f.read(), g.read())
            c.run(['echo', 'shown'], capture=False)
            self.assertEqual(''.join(shown), 'shown\n')
            with self.assertRaises(TimeoutError):
                c.options(timeout=0.3).call('time:sleep', 100)
            self.assertEqual(c.call(os.getpid), c.info.pid)

    def test_the_package_there(self):
        """A module that imports anything public of the package can be imported in a context."""
        kinds = [n for n in mitogo.__all__ if n not in ('SSH', 'Sudo')]
        public = {
            'errors': [n for n, v in vars(mitogo.errors).items() if n in mitogo.__all__],
            'aio': 'Engine Context Fleet Result Results EngineError Receiver Sender'.split(),
        }
        with mitogo.Engine() as m:
            c = m.connect('local', python=TARGET)
            self.assertEqual(c.call(needs.lacks, mitogo.__all__, public), [])
            errors = [n for n in kinds if n.endswith('Error') or n[-4:] in ('Lost', 'osed')]
            self.assertEqual(c.call(needs.bases, errors), needs.bases(errors))
            self.assertTrue(c.call(needs.refused))


if __name__ == '__main__':
    unittest.main()
