#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule


def main():
    AnsibleModule(argument_spec={})
    print('about to crash')
    raise ValueError('crashed on purpose')


if __name__ == '__main__':
    main()
