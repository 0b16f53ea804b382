"""What the driver calls in its contexts."""
import subprocess


def noop():
    return None


def true_once():
    subprocess.check_call(['/bin/true'])


def true_loop(n):
    for _ in range(n):
        subprocess.check_call(['/bin/true'])
