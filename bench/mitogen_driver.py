"""Does the workloads of driver/ with Mitogen for Python, for comparison: mitogen_driver.py WORKLOAD
'{"target": ...}'."""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'py'))

import mitogen.master

import bench_remote
import own_module


def mark(name):
    print(json.dumps({'mark': name}), flush=True)
    sys.stdin.readline()


def connect(router, target):
    python = target.get('python') or '/usr/bin/python3'
    if target['kind'].startswith('bastion'):
        context = None
        for host in ('bastion', 'web1'):
            context = router.ssh(hostname=host, python_path=python,
                                 ssh_args=['-F', target['ssh_config']], check_host_keys='enforce',
                                 via=context)
    elif target['kind'].startswith('local'):
        context = router.local(python_path=python)
        if target['kind'] == 'local+local':
            context = router.local(via=context, python_path=python)
    else:
        context = router.ssh(hostname=target['host'], port=target['port'], username=target['user'],
                             python_path=python,
                             ssh_args=['-F', target['ssh_config']], check_host_keys='enforce')
    if target['kind'].endswith('+sudo'):
        context = router.sudo(via=context, username='root', password=target.get('password') or None,
                              python_path=python)
    return context


def own(router, p):
    start = time.perf_counter()
    connect(router, p['target']).call(own_module.pid)
    return {'total_s': time.perf_counter() - start}


def connects(router, p):
    start = time.perf_counter()
    context = connect(router, p['target'])
    context.call(os.getpid)
    return {'total_s': time.perf_counter() - start}


def warm(router, p):
    context = connect(router, p['target'])
    for _ in range(100):
        context.call(bench_remote.noop)
    return context


def latency(router, p):
    context = warm(router, p)
    times = []
    for _ in range(p['n']):
        start = time.perf_counter()
        context.call(bench_remote.noop)
        times.append((time.perf_counter() - start) * 1e6)
    times.sort()
    return {'p50_us': times[len(times) // 2], 'p99_us': times[len(times) * 99 // 100]}


def pipeline(router, p):
    context = warm(router, p)
    start = time.perf_counter()
    for receiver in [context.call_async(bench_remote.noop) for _ in range(p['n'])]:
        receiver.get().unpickle()
    return {'calls_per_s': p['n'] / (time.perf_counter() - start)}


def scale(router, p):
    from multiprocessing.pool import ThreadPool

    def one(_):
        context = connect(router, p['target'])
        context.call(os.getpid)
        return context
    start = time.perf_counter()
    contexts = ThreadPool(p['threads']).map(one, range(p['n']), 1)
    took = time.perf_counter() - start
    mark('connected')
    return {'s': took, 'n': len(contexts)}


def loop100(router, p):
    start = time.perf_counter()
    context = connect(router, p['target'])
    if p['where'] == 'remote':
        context.call(bench_remote.true_loop, p['n'])
    else:
        for _ in range(p['n']):
            context.call(bench_remote.true_once)
    return {'total_s': time.perf_counter() - start}


def imports(router, p):
    module = __import__(p['module'])
    result = {}
    for name in ('cold', 'warm'):
        context = connect(router, p['target'])
        context.call(os.getpid)
        mark(name + '_connected')
        before = router.responder.get_module_count, router.responder.bad_load_module_count
        start = time.perf_counter()
        result['modules'] = context.call(module.loaded)
        result[name + '_s'] = time.perf_counter() - start
        result[name + '_asked'] = router.responder.get_module_count - before[0]
        result[name + '_negative'] = router.responder.bad_load_module_count - before[1]
        mark(name)
    return result


def tree(router, p):
    module = __import__(p['module'])
    hop = connect(router, p['target'])
    children = [router.local(via=hop, python_path=p['target']['python']) for _ in range(p['n'])]
    for child in children:
        child.call(os.getpid)
    mark('connected')
    start = time.perf_counter()
    for receiver in [child.call_async(module.loaded) for child in children]:
        receiver.get().unpickle()
    took = time.perf_counter() - start
    mark('done')
    return {'s': took}


WORKLOADS = {'import': imports, 'tree': tree, 'own': own, 'connect': connects, 'latency': latency,
             'pipeline': pipeline, 'scale': scale, 'loop100': loop100}


def main():
    broker = mitogen.master.Broker()
    try:
        result = WORKLOADS[sys.argv[1]](mitogen.master.Router(broker), json.loads(sys.argv[2]))
    finally:
        broker.shutdown()
        broker.join()
    print(json.dumps(result))


if __name__ == '__main__':
    main()
