"""What the tool asks of each host."""
import os
import platform


def collect(mount):
    disk = os.statvfs(mount)
    return {
        'host': platform.node(),
        'system': platform.system(),
        'python': platform.python_version(),
        'load': os.getloadavg()[0],
        'disk_free': disk.f_bavail * disk.f_frsize,
    }
